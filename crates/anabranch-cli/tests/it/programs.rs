//! Programs that do jobs, from a config beside them to the end of the process that started them.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{anabranch, get, Folder};

/// Answers each job with its process's number, or never.
const PROGRAM: &str = "\
#!/bin/sh
echo '!ready'
while read -r job; do
  [ \"$job\" = '\"hang\"' ] && sleep 1000
  echo $$
done
";

const CONFIG: &str = "\
sources:
  numbers: { run: [./program.sh], count: 2 }
routes:
  GET /number/{what}:
    deadline: 60s
    calls: { number: { run: numbers, body: $what } }
    reply: { only: number }
";

fn stage() -> Folder {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let program = folder.write("program.sh", PROGRAM);
    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).unwrap();
    folder.write("gateway.yaml", CONFIG);
    folder
}

#[test]
fn check_says_where_a_program_is_not_there() {
    let folder = stage();
    let ended = folder.run(&["check", "gateway.yaml"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    folder.write("gateway.yaml", &CONFIG.replace("./program.sh", "./porgram.sh"));
    let ended = folder.run(&["check", "gateway.yaml"]);
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    for expected in ["gateway.yaml:2:20", "porgram.sh` is no program", "1 fault"] {
        assert!(ended.stderr.contains(expected), "no `{expected}` in:\n{}", ended.stderr);
    }
    // A program that is there, with code that is not.
    folder.write("gateway.yaml", &CONFIG.replace("./program.sh", "sh, score.sh"));
    let ended = folder.run(&["check", "gateway.yaml"]);
    assert_eq!(ended.code, Some(0));
    let warning = "warning: gateway.yaml: source `numbers`: there is no `./score.sh`";
    assert!(ended.stderr.contains(warning), "{}", ended.stderr);
}

#[test]
fn try_has_a_job_done_and_leaves_no_process() {
    let folder = stage();
    let ended = folder.run(&["try", "GET /number/it"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!runs(ended.stdout.trim().parse().unwrap()));
}

#[test]
fn try_that_is_interrupted_leaves_no_process() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let folder = stage();
        let mut command = anabranch(&["try", "GET /number/hang"]);
        let mut tried = command.current_dir(folder.path()).stderr(Stdio::null()).spawn().unwrap();
        until("its program has the job", || {
            children(tried.id()).iter().any(|process| !children(*process).is_empty())
        });
        let all = children(tried.id());
        let told = Command::new("kill").args([signal, &tried.id().to_string()]).status();
        assert!(told.unwrap().success());
        assert_eq!(tried.wait().unwrap().code(), Some(code), "{signal}");
        until("its programs have ended", || !all.iter().any(|process| runs(*process)));
    }
}

#[test]
fn the_example_ranks_its_texts() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/worker/gateway.yaml");
    let checked = Folder::new().run(&["check", example.to_str().unwrap()]);
    assert!(checked.code == Some(0) && !checked.stderr.contains("warning"), "{}", checked.stderr);
    let ended = Folder::new().run(&["try", "-c", example.to_str().unwrap(), "GET /search?q=red+shoes"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let expected = r#"[{"id":2,"text":"Red running shoes","score":1.0},{"id":1,"text":"A red hat","score":0.5},{"id":3,"text":"Blue jeans","score":0.0}]"#;
    assert_eq!(ended.stdout.trim(), expected);
    let ended = Folder::new().run(&[
        "try",
        "-c",
        example.to_str().unwrap(),
        "POST /each",
        "-d",
        r#"{"question":"red hat","texts":["a red hat","red","blue"]}"#,
    ]);
    assert_eq!((ended.code, ended.stdout.trim()), (Some(0), "[1.0,0.5,0.0]"), "{}", ended.stderr);
}

/// The server, and where it listens.
fn serve(folder: &Folder) -> (Child, String) {
    let config = folder.write("gateway.yaml", CONFIG);
    let mut server = anabranch(&["serve", config.to_str().unwrap(), "--listen", "127.0.0.1:0"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    // What it says later must find a reader.
    std::thread::spawn(move || lines.for_each(drop));
    let address = line.split_once("http://").unwrap().1.split(' ').next().unwrap().to_owned();
    (server, address)
}

fn number(address: &str) -> u32 {
    let reply = get(address, "/number/it");
    let body = reply.rsplit_once("\r\n\r\n").unwrap().1;
    body.trim().parse().unwrap_or_else(|_| panic!("{reply}"))
}

fn terminate(server: &Child) {
    let told = Command::new("kill").args(["-TERM", &server.id().to_string()]).status();
    assert!(told.unwrap().success());
}

/// Whether a process runs. One that lost its parent and was killed may stay a zombie: that is the matter of whoever adopted it.
fn runs(process: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    state.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// What a process has started.
fn children(process: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let text: String = tasks
        .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok())
        .collect();
    text.split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

#[expect(clippy::disallowed_methods, reason = "another process is waited for, on the clock of the machine")]
fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(20), "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn serve_ends_its_processes_also_when_it_is_told_twice() {
    let folder = stage();
    for times in [1, 2] {
        let (mut server, address) = serve(&folder);
        assert!(runs(number(&address)));
        let all = children(server.id());
        assert_eq!(all.len(), 2, "both are started ahead");
        if times == 2 {
            // Two jobs that never end, each in a process that has started another.
            for _ in 0..2 {
                let address = address.clone();
                std::thread::spawn(move || get(&address, "/number/hang"));
            }
            until("both have a job", || all.iter().all(|process| children(*process).len() == 1));
            terminate(&server);
            until("it has been told", || std::net::TcpStream::connect(&address).is_err());
        }
        let all: Vec<u32> = all
            .iter()
            .flat_map(|process| children(*process))
            .chain(all.iter().copied())
            .collect();
        terminate(&server);
        assert_eq!(server.wait().unwrap().code(), Some(0));
        until("they are gone", || !all.iter().copied().any(runs));
    }
}
