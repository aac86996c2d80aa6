//! Every file of `tests/spec` is run, and once more with hyper's HTTP/1.1 in place of our own. `UPDATE_EXPECT=1` writes what came into the files; `SPEC=part-of-a-name` runs some of them.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anabranch::client::Codec;
use anabranch_gateway::spec::Spec;

#[test]
fn every_spec_holds() {
    let update = env::var_os("UPDATE_EXPECT").is_some_and(|value| value == "1");
    all_hold(None, update);
}

/// But those that say themselves which codec is meant.
#[test]
fn every_spec_holds_over_hyper() {
    all_hold(Some(Codec::Hyper), false);
}

fn all_hold(codec: Option<Codec>, update: bool) {
    let wanted = env::var_os("SPEC")
        .map(|part| part.to_string_lossy().into_owned())
        .unwrap_or_default();
    let files: Vec<PathBuf> = files().into_iter().filter(|file| name(file).contains(&wanted)).collect();
    assert!(!files.is_empty(), "no spec has `{wanted}` in its name");
    let failures: Vec<String> = files.iter().filter_map(|file| check(file, codec, update)).collect();
    assert!(
        failures.is_empty(),
        "{} of {} specs do not hold\n\n{}",
        failures.len(),
        files.len(),
        failures.join("\n\n")
    );
}

/// Runs one file; gives what is wrong with it.
fn check(file: &Path, codec: Option<Codec>, update: bool) -> Option<String> {
    let text = fs::read_to_string(file).unwrap();
    if codec.is_some() && text.contains("wire: ") {
        return None;
    }
    let spec = match Spec::parse(&name(file), &text) {
        Ok(spec) => spec,
        Err(bad) => return Some(format!("{}: {bad}", file.display())),
    };
    // A runtime of its own for each: nothing of one spec can be seen by the next.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let ran = runtime.block_on(spec.run_on(codec));
    if update {
        let written = ran.rewrite(&spec);
        if written != text {
            fs::write(file, written).unwrap();
            eprintln!("wrote {}", file.display());
        }
        return None;
    }
    let mismatches: Vec<String> = ran
        .compare(&spec)
        .iter()
        .map(|mismatch| format!("{}: {mismatch}", file.display()))
        .collect();
    (!mismatches.is_empty()).then(|| mismatches.join("\n"))
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/spec");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries
        .filter(|file| file.extension().is_some_and(|extension| extension == "md"))
        .collect();
    files.sort();
    files
}

fn name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
