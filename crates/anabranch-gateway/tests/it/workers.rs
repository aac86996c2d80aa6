//! Calls to programs: real processes of Python, what they answer, and what a reply makes of those that do not.
//!
//! Processes know only real time, so the clock runs here. Limits that a test is about are short; all others are far away.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anabranch::{Client, Deadline};
use anabranch_gateway::config::MapLookup;
use anabranch_gateway::gateway::{Answer, CallTrace};
use anabranch_gateway::{Core, CoreOptions, Gateway, Plan, compile};
use bytes::Bytes;
use http::Request;

use crate::setup::{Running, is_quick, soon, until};

/// Does what its job says, by the protocol and by hand.
const WORKER: &str = r#"
import json, os, sys, time

print("!ready", flush=True)
for line in sys.stdin:
    job = json.loads(line)
    do = job.get("do") if isinstance(job, dict) else None
    if do == "crash":
        print("it is all too much", file=sys.stderr)
        os._exit(7)
    if do == "hang":
        time.sleep(1000)
    if do == "pause":
        time.sleep(0.4)
        open(job["file"], "w").write("done")
    if do == "garbage":
        print("Hello!", flush=True)
        continue
    if do == "huge":
        sys.stdout.write('"')
        for _ in range(1024):
            sys.stdout.write("x" * (1 << 20))
        print('"', flush=True)
        continue
    if do == "refuse":
        print("!failed NoSuchText", flush=True)
        continue
    if do == "pid":
        print(os.getpid(), flush=True)
        continue
    if do == "env":
        print(json.dumps([os.environ.get("MODEL"), "HOME" in os.environ, os.getcwd()]), flush=True)
        continue
    print(json.dumps(job), flush=True)
"#;

/// The interpreter itself: what `python3` names may be a script that needs an environment. None where only quick tests are wanted.
fn python() -> Option<String> {
    if is_quick("python3") {
        return None;
    }
    let asked = Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .output()
        .expect("this test needs python3; install it, or set ANABRANCH_TEST_QUICK=1 to go without");
    assert!(asked.status.success(), "this test needs a python3 that runs");
    Some(String::from_utf8(asked.stdout).unwrap().trim().to_owned())
}

/// A folder with the program, a config beside it, and what is heard of the processes.
struct Page {
    folder: tempfile::TempDir,
    gateway: Arc<Gateway>,
    core: Core,
    notes: Arc<Mutex<Vec<String>>>,
}

const DO: &str = "  GET /do/{what}:
    deadline: 30s
    need: []
    calls:
      done: { run: score, body: { do: $what } }
";

fn config(python: &str, source: &str, routes: &str) -> String {
    format!(
        "sources:\n  score: {{ run: ['{python}', -B, worker.py], start: 60s, queue_wait: 60s{source} }}\n  \
         other: {{ url: http://127.0.0.1:9 }}\nroutes:\n{routes}"
    )
}

fn plan(folder: &Path, config: &str) -> Plan {
    let lookup = MapLookup::new().with_env("MODEL", "a model").with_folder(folder);
    compile("gateway.yaml", config, &lookup).unwrap_or_else(|faults| panic!("{}", faults.render(false)))
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("worker.py"), WORKER).unwrap();
    folder
}

/// A page with these more keys of the source `score`, and these routes. None where no other programs are to be tested with.
fn page(source: &str, routes: &str) -> Option<Page> {
    let folder = folder();
    let plan = plan(folder.path(), &config(&python()?, source, routes));
    let notes = Arc::new(Mutex::new(Vec::new()));
    let all = notes.clone();
    let gateway = Gateway::build_with_notes(plan, Arc::new(move |note| all.lock().unwrap().push(note.to_owned()))).unwrap();
    let core = core(&gateway);
    Some(Page {
        folder,
        gateway,
        core,
        notes,
    })
}

fn core(gateway: &Arc<Gateway>) -> Core {
    let options = CoreOptions {
        trace: true,
        ..CoreOptions::default()
    };
    Core::new(gateway.clone(), Client::new(), options)
}

async fn get(core: &Core, path: &str) -> Answer {
    let request = Request::get(path).header("host", "gateway").body(Bytes::new()).unwrap();
    core.answer(request).await
}

async fn post(core: &Core, path: &str, body: &str) -> Answer {
    let request = Request::post(path)
        .header("host", "gateway")
        .header("content-type", "application/json");
    core.answer(request.body(Bytes::copy_from_slice(body.as_bytes())).unwrap()).await
}

fn text(answer: &Answer) -> &str {
    std::str::from_utf8(&answer.body).unwrap()
}

fn call<'a>(answer: &'a Answer, name: &str) -> &'a CallTrace {
    let calls = &answer.trace.as_ref().unwrap().calls;
    calls.iter().find(|call| *call.name == *name).unwrap()
}

impl Page {
    #[track_caller]
    fn check(answer: &Answer, body: &str) {
        assert_eq!((answer.status.as_u16(), text(answer)), (200, body), "{:?}", answer.trace);
    }

    /// The outcome of a job and what is said of it.
    async fn outcome(&self, what: &str) -> (String, String) {
        let answer = get(&self.core, &format!("/do/{what}")).await;
        let done = call(&answer, "done");
        (done.outcome.clone(), done.detail.clone())
    }

    /// The number of the process that does the next job.
    async fn pid(&self) -> u32 {
        pid(&self.core).await
    }

    fn has_noted(&self, text: &str) -> bool {
        self.notes.lock().unwrap().iter().any(|note| note.contains(text))
    }

    /// Ends it, and looks that nothing is left.
    async fn end(self) {
        assert_eq!(self.core.drain(Deadline::after(Duration::from_secs(20))).await, Vec::<&str>::new());
    }
}

async fn pid(core: &Core) -> u32 {
    let answer = get(core, "/do/pid").await;
    let number = text(&answer).trim_start_matches("{\"done\":").trim_end_matches('}');
    number.parse().unwrap_or_else(|_| panic!("{:?}", answer.trace))
}

/// Whether a process runs. One that was killed may be a zombie for a moment.
fn runs(process: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    state.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn kill(process: u32) {
    let killed = Command::new("kill").args(["-KILL", &process.to_string()]).status().unwrap();
    assert!(killed.success());
}

#[tokio::test]
async fn a_job_is_made_of_values_and_its_answer_is_a_part() {
    let routes = "  POST /score/{id:int}:
    query: { lang: en }
    calls:
      given: { value: { text: 'a \"b\"' } }
      score: { run: score, body: { id: $id, lang: $lang, texts: [$body.a, $given.text, $body.none], all: 'x $id' } }
      more:  { run: score, body: $score.texts, jq: '.[0]' }
      null:  { run: score, body: null }
";
    let Some(page) = page("", routes) else { return };
    let answer = post(&page.core, "/score/7", r#"{"a":{"b":[1.50,null]}}"#).await;
    Page::check(
        &answer,
        r#"{"given":{"text":"a \"b\""},"score":{"id": 7, "lang": "en", "texts": [{"b": [1.5, null]}, "a \"b\"", null], "all": "x 7"},"more":{"b": [1.5, null]},"null":null}"#,
    );
    assert!(!answer.headers.contains_key("anabranch-parts"));
    assert_eq!(answer.headers["cache-control"], "no-store");
    let attempt = &call(&answer, "score").attempts[0];
    assert!(attempt.timings.queue.is_some() && attempt.timings.first_byte.is_some());
    page.end().await;
}

#[tokio::test]
async fn a_list_has_a_job_for_each_item_or_for_many_keys() {
    let routes = "  GET /list:
    query: { id: [] }
    calls:
      ids:  { value: $id }
      each: { each: '$ids[]', run: score, body: { it: $it }, width: 3, jq: .it }
      some: { each: '$ids[]', run: score, body: { do: crash }, when: '$it == \"b\"', else: { no: $it } }
      many: { batch: '$ids[]', match: order, run: score, body: $keys }
";
    let Some(page) = page(", count: 2", routes) else { return };
    let answer = get(&page.core, "/list?id=a&id=b&id=c&id=a").await;
    Page::check(
        &answer,
        r#"{"ids":["a","b","c","a"],"each":["a","b","c","a"],"some":[null,{"no":"b"},null,null],"many":["a","b","c","a"]}"#,
    );
    page.end().await;
}

#[tokio::test]
async fn a_process_has_no_environment_but_what_is_listed_and_runs_beside_the_config() {
    let Some(page) = page(", env: { MODEL: $env.MODEL }", DO) else {
        return;
    };
    let folder = page.folder.path().canonicalize().unwrap();
    let expected = format!(r#"{{"done":["a model", false, "{}"]}}"#, folder.display());
    Page::check(&get(&page.core, "/do/env").await, &expected);
    page.end().await;
    let page = self::page(", env: [MODEL]", DO).unwrap();
    assert!(text(&get(&page.core, "/do/env").await).starts_with(r#"{"done":["a model", false, "#));
    page.end().await;
}

#[tokio::test]
async fn a_worker_that_fails_fails_its_call_and_says_why() {
    let Some(page) = page(", timeout: 500ms, max_body: 1M", DO) else {
        return;
    };
    page.pid().await;
    for (what, outcome, detail) in [
        ("crash", "reset", "the worker exited with status 7"),
        ("hang", "timeout", "the worker did not answer within 500ms"),
        ("garbage", "decode", "the worker wrote "),
        ("huge", "too_large", "the worker wrote more than 1048576 bytes in a line"),
        ("refuse", "status", "the worker failed: NoSuchText"),
    ] {
        let before = page.pid().await;
        let (was, said) = page.outcome(what).await;
        assert_eq!(was, outcome, "{what}: {said}");
        assert!(said.contains(detail), "{what}: {said}");
        let after = page.pid().await;
        if what == "refuse" {
            assert_eq!(after, before, "a process that says so has done its job");
        } else {
            assert_ne!(after, before, "{what}");
            assert!(!runs(before), "{what}");
        }
    }
    assert!(page.has_noted("source `score`: process") && page.has_noted("it is all too much"));
    page.end().await;
}

#[tokio::test]
async fn a_worker_that_is_killed_from_outside_is_replaced() {
    let Some(page) = page("", DO) else { return };
    let idle = page.pid().await;
    kill(idle);
    until("it is missed", || page.has_noted("was ended by signal 9")).await;
    let busy = page.pid().await;
    assert_ne!(busy, idle);
    let (outcome, ()) = tokio::join!(page.outcome("hang"), async {
        until("it has the job", || page.gateway.sources()[0].in_flight() == 1).await;
        kill(busy);
    });
    assert_eq!(outcome.0, "reset");
    assert!(outcome.1.contains("the worker was ended by signal 9"), "{outcome:?}");
    assert_ne!(page.pid().await, busy);
    page.end().await;
}

#[tokio::test]
async fn a_program_without_its_file_fails_each_call_soon_and_is_named() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let config = config(&python, "", DO).replace("worker.py", "wroker.py");
    let plan = plan(folder.path(), &config.replace("60s", "250ms").replace("start: 250ms", "start: 60s"));
    let expected = format!("source `score`: there is no `{}`", folder.path().join("wroker.py").display());
    assert!(plan.warnings.contains(&expected), "{:?}", plan.warnings);
    let core = core(&Gateway::build(plan).unwrap());
    let answer = soon(get(&core, "/do/it")).await;
    let done = call(&answer, "done");
    assert!(["reset", "connect"].contains(&done.outcome.as_str()), "{done:?}");
    let answer = soon(async {
        // The first job finds out; while the next start is waited for, others hear of it at once or when it has failed again.
        loop {
            let answer = get(&core, "/do/it").await;
            if call(&answer, "done").outcome == "connect" {
                return answer;
            }
        }
    })
    .await;
    let detail = &call(&answer, "done").detail;
    assert!(detail.contains("no process is up: the last one exited with status 2"), "{detail}");
    core.drain(Deadline::after(Duration::from_secs(20))).await;
}

#[tokio::test]
async fn when_all_processes_are_busy_a_job_is_refused() {
    let routes = format!("{DO}  GET /needed:\n    need: [done]\n    calls: {{ done: {{ run: score, body: {{ do: pid }} }} }}\n");
    let Some(page) = page(", queue: 0", &routes) else { return };
    page.pid().await;
    let (answer, ()) = tokio::join!(get(&page.core, "/do/hang"), async {
        until("it has the job", || page.gateway.sources()[0].in_flight() == 1).await;
        let (outcome, detail) = page.outcome("pid").await;
        assert_eq!(outcome, "busy");
        assert!(detail.contains("all 1 processes are busy and the queue is full"), "{detail}");
        let needed = get(&page.core, "/needed").await;
        assert_eq!(
            (needed.status.as_u16(), &needed.headers["retry-after"]),
            (503, &"1".parse().unwrap())
        );
        processes(page.folder.path()).into_iter().for_each(kill);
    });
    assert_eq!(call(&answer, "done").outcome, "reset");
    page.end().await;
}

#[tokio::test]
async fn a_job_whose_client_leaves_is_killed_unless_it_must_not_be() {
    let routes = "  POST /pause:
    deadline: 30s
    calls: { done: { run: score, body: { do: pause, file: $body }, idempotent: false } }
";
    let Some(page) = page("", &format!("{DO}{routes}")) else { return };
    let process = page.pid().await;
    let has_job = || page.gateway.sources()[0].in_flight() == 1;
    tokio::select! {
        _ = get(&page.core, "/do/hang") => panic!("it hangs"),
        () = until("it has the job", has_job) => {}
    }
    until("it is killed", || !runs(process)).await;
    let process = page.pid().await;
    let file = page.folder.path().join("written");
    let body = format!("\"{}\"", file.display());
    tokio::select! {
        _ = post(&page.core, "/pause", &body) => panic!("it takes a while"),
        () = until("it has the job", has_job) => {}
    }
    until("it is done all the same", || file.exists()).await;
    assert_eq!(page.pid().await, process);
    page.end().await;
}

#[tokio::test]
async fn a_drain_waits_for_jobs_and_leaves_no_process() {
    let Some(python) = python() else { return };
    let folder = folder();
    let routes = format!("{DO}  GET /pause:\n    calls: {{ done: {{ run: score, body: {{ do: pause, file: written }} }} }}\n");
    let lookup = MapLookup::new().with_folder(folder.path());
    let config = config(&python, ", count: 3", &routes);
    let running = Running::with(&config, &lookup, Duration::from_secs(20)).await;
    // All of them were started ahead of the first job.
    let numbers = || processes(folder.path());
    until("three processes", || numbers().len() == 3).await;
    let all = numbers();
    let mut peer = running.connect().await;
    peer.send("GET /pause HTTP/1.1\r\nhost: gateway\r\n\r\n").await;
    until("it has the job", || running.gateway.sources()[0].in_flight() == 1).await;
    running.request_stop();
    let reply = peer.reply().await;
    assert_eq!((reply.status, reply.header("anabranch-parts")), (200, None));
    assert_eq!(running.stopped().await, 0);
    assert!(!all.into_iter().any(runs) && numbers().is_empty());
}

/// The processes that run in this folder.
fn processes(folder: &Path) -> Vec<u32> {
    let folder = folder.canonicalize().unwrap();
    let place = |number: u32| std::fs::read_link(format!("/proc/{number}/cwd"));
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u32>().ok())
        .filter(|number| place(*number).is_ok_and(|place| place == folder))
        .collect()
}

#[test]
fn all_cores_share_the_processes_and_one_may_end_before_the_others() {
    let Some(page) = page("", DO) else { return };
    let on_a_core = |work: &(dyn Fn(&tokio::runtime::Runtime, &Core) + Sync)| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let core = runtime.block_on(async { core(&page.gateway) });
        work(&runtime, &core);
    };
    let numbers: Mutex<Vec<u32>> = Mutex::default();
    let both = tokio::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                on_a_core(&|runtime, core| {
                    runtime.block_on(async {
                        let process = pid(core).await;
                        numbers.lock().unwrap().push(process);
                        // Who tends the process of the other must not stop yet.
                        both.wait().await;
                    });
                    runtime.block_on(core.drain(Deadline::after(Duration::from_secs(20))));
                });
            });
        }
    });
    let numbers = numbers.into_inner().unwrap();
    assert_eq!(numbers.len(), 2);
    assert_eq!(processes(page.folder.path()), Vec::<u32>::new());
    // A core that comes later starts what it needs.
    on_a_core(&|runtime, core| {
        let process = runtime.block_on(pid(core));
        assert!(runs(process) && !numbers.contains(&process));
        runtime.block_on(core.drain(Deadline::after(Duration::from_secs(20))));
        assert!(!runs(process));
    });
}

#[tokio::test]
async fn what_cannot_be_started_is_a_fault_of_the_config() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("plain.txt"), "").unwrap();
    let lookup = MapLookup::new().with_folder(folder.path());
    let place = folder.path().display();
    for (source, expected) in [
        (
            "{ run: [no-such-program] }",
            "2:18 no program `no-such-program` in /usr/local/bin:/usr/bin:/bin".to_owned(),
        ),
        (
            "{ run: [sh], env: { PATH: /nowhere } }",
            "2:18 no program `sh` in /nowhere".to_owned(),
        ),
        ("{ run: [./plain.txt, x] }", format!("2:18 `{place}/./plain.txt` is no program")),
        ("{ run: [./none] }", format!("2:18 `{place}/./none` is no program")),
    ] {
        let config = format!("sources:\n  score: {source}\nroutes: {{ GET /: {{ calls: {{ a: {{ run: score, body: 1 }} }} }} }}\n");
        let faults = compile("gateway.yaml", &config, &lookup).unwrap_err();
        let said = faults.render(false);
        let (at, message) = expected.split_once(' ').unwrap();
        assert!(said.contains(message) && said.contains(&format!("gateway.yaml:{at}")), "{said}");
    }
    // All of them are told at once, but for one whose other faults may be why.
    let config = "\
sources:
  a: { run: [no-such-program] }
  b: { run: [./none] }
  c: { run: [not-asked], count: none }
routes: { GET /: { calls: { x: { run: a, body: 1 }, y: { run: nowhere, body: 1 } } } }
";
    let said = compile("gateway.yaml", config, &lookup).unwrap_err().render(false);
    for expected in [
        "gateway.yaml:2:14",
        "gateway.yaml:3:14",
        "gateway.yaml:4:33",
        "unknown source `nowhere`",
        "4 faults",
    ] {
        assert!(said.contains(expected), "no `{expected}` in:\n{said}");
    }
}
