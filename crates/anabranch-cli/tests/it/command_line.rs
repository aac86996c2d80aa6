//! What holds for every command: help, exit codes, completions.

use std::process::Stdio;

use crate::support::{anabranch, Folder};

#[test]
fn each_command_explains_itself_with_an_example() {
    let folder = Folder::new();
    for command in ["serve", "check", "plan", "purge", "try", "mock", "demo", "fetch", "completions"] {
        let ended = folder.run(&[command, "--help"]);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        assert!(
            ended.stdout.contains("Examples:") && ended.stdout.contains(&format!("  anabranch {command}")),
            "{}",
            ended.stdout
        );
    }
    let help = folder.run(&["--help"]);
    assert!(
        help.stdout.contains("Exit codes: 0 done") && help.stdout.contains("--color"),
        "{}",
        help.stdout
    );
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    let folder = Folder::new();
    for arguments in [
        &["srve"][..],
        &["check"],
        &["serve", "x.yaml", "--grace", "5s"],
        &["--color", "sometimes", "check", "x"],
        &[],
    ] {
        assert_eq!(folder.run(arguments).code, Some(2), "{arguments:?}");
    }
}

#[test]
fn completions_are_printed_and_a_closed_pipe_is_no_fault() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish"] {
        let ended = folder.run(&["completions", shell]);
        assert!(
            ended.code == Some(0) && ended.stdout.contains("anabranch") && ended.stdout.contains("mock"),
            "{shell}"
        );
    }
    let mut child = anabranch(&["completions", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}
