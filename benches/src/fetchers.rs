//! The tools that fetch many URLs: how each is told the same list, the same concurrency, and to write down what came of it. What they
//! need is put into `benches/target/peers` by `scripts/bench fetch`; one that is not there is skipped, with the reason.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::peers::Places;

/// A list to fetch.
pub struct Work<'work> {
    /// What is asked for.
    pub urls: &'work [String],
    /// Requests at once.
    pub concurrency: usize,
    /// An empty folder to write into.
    pub folder: &'work Path,
}

/// One tool.
pub struct Fetcher {
    /// Its name in results and `--only`.
    pub id: &'static str,
    /// Its name in tables.
    pub title: &'static str,
    /// What it leaves behind of each request.
    pub writes: &'static str,
    /// It is given every so manieth URL only: it takes minutes otherwise, and its costs are in proportion.
    pub every: usize,
    /// The folder in `benches/target/peers` that it needs, if any.
    needs: Option<&'static str>,
    command: fn(&Places, &Work<'_>) -> Result<Command, String>,
}

/// What it is about.
pub const ANABRANCH: &str = "anabranch";

/// All of them, in the order of the tables.
pub const ALL: [Fetcher; 10] = [
    Fetcher {
        id: ANABRANCH,
        title: "anabranch fetch",
        writes: "a record each, synced, resumable",
        every: 1,
        needs: None,
        command: anabranch,
    },
    Fetcher {
        id: "anabranch-stdout",
        title: "anabranch fetch > file",
        writes: "a record each",
        every: 1,
        needs: None,
        command: anabranch_to_stdout,
    },
    Fetcher {
        id: "curl-z",
        title: "curl -Z",
        writes: "a line of JSON each",
        every: 1,
        needs: None,
        command: curl,
    },
    Fetcher {
        id: "xargs-curl",
        title: "xargs -P curl",
        writes: "a line of JSON each",
        every: 10,
        needs: None,
        command: xargs,
    },
    Fetcher {
        id: "aria2",
        title: "aria2c",
        writes: "a file each",
        every: 1,
        needs: Some("aria2"),
        command: aria2,
    },
    Fetcher {
        id: "wget2",
        title: "wget2",
        writes: "a file each",
        every: 1,
        needs: Some("wget2"),
        command: wget2,
    },
    Fetcher {
        id: "aiohttp",
        title: "Python aiohttp + uvloop",
        writes: "a line of JSON each",
        every: 1,
        needs: Some("fetch-python"),
        command: aiohttp,
    },
    Fetcher {
        id: "httpx",
        title: "Python httpx",
        writes: "a line of JSON each",
        every: 1,
        needs: Some("fetch-python"),
        command: httpx,
    },
    Fetcher {
        id: "scrapy",
        title: "Scrapy",
        writes: "a line of JSON each",
        every: 1,
        needs: Some("fetch-python"),
        command: scrapy,
    },
    Fetcher {
        id: "oha",
        title: "(oha: the ceiling)",
        writes: "nothing",
        every: 1,
        needs: Some("oha"),
        command: oha,
    },
];

impl Fetcher {
    /// Its version.
    ///
    /// # Errors
    /// Why it is not there.
    pub fn version(&self, places: &Places) -> Result<String, String> {
        let Some(needs) = self.needs else {
            return self.own_version(places);
        };
        let installed = places.installed.join(needs);
        if let Ok(reason) = fs::read_to_string(installed.join("skipped")) {
            return Err(reason.trim().to_owned());
        }
        let file = installed.join(format!("version-{}", self.id));
        fs::read_to_string(file)
            .map(|version| version.trim().to_owned())
            .map_err(|_| "not installed; scripts/bench fetch installs it".to_owned())
    }

    fn own_version(&self, places: &Places) -> Result<String, String> {
        let program = if self.id.starts_with(ANABRANCH) {
            places.gateway.clone()
        } else {
            PathBuf::from("curl")
        };
        let said = Command::new(&program)
            .arg("--version")
            .output()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        Ok(said.lines().next().unwrap_or("unknown").to_owned())
    }

    /// The command that fetches the list.
    ///
    /// # Errors
    /// What it needs could not be written.
    pub fn command(&self, places: &Places, work: &Work<'_>) -> Result<Command, String> {
        (self.command)(places, work)
    }
}

/// One URL on each line.
fn list(work: &Work<'_>) -> Result<PathBuf, String> {
    write(work, "urls.txt", work.urls.iter().map(|url| format!("{url}\n")).collect())
}

fn write(work: &Work<'_>, name: &str, text: String) -> Result<PathBuf, String> {
    let path = work.folder.join(name);
    fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(path)
}

fn anabranch_here(places: &Places, work: &Work<'_>) -> Result<Command, String> {
    let mut command = Command::new(&places.gateway);
    let most = work.concurrency.to_string();
    command.args(["fetch", "--progress", "none", "-j", &most, "--per-host", &most, "-i"]);
    command.arg(list(work)?).current_dir(work.folder);
    Ok(command)
}

fn anabranch(places: &Places, work: &Work<'_>) -> Result<Command, String> {
    let mut command = anabranch_here(places, work)?;
    command.args(["-o", "out.ndjson"]);
    Ok(command)
}

fn anabranch_to_stdout(places: &Places, work: &Work<'_>) -> Result<Command, String> {
    anabranch_here(places, work)
}

/// A config file, since a command line has no room for the list; `-w` makes its record.
fn curl(_places: &Places, work: &Work<'_>) -> Result<Command, String> {
    let lines = work.urls.iter().map(|url| format!("url = \"{url}\"\noutput = \"/dev/null\"\n"));
    let config = write(work, "curl.config", lines.collect())?;
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--parallel",
        "--parallel-immediate",
        "--parallel-max",
        &work.concurrency.to_string(),
    ]);
    command
        .args(["--max-time", "60", "--write-out", "%{json}\\n", "--config"])
        .arg(config);
    Ok(command)
}

fn xargs(_places: &Places, work: &Work<'_>) -> Result<Command, String> {
    let mut command = Command::new("xargs");
    command
        .arg("-a")
        .arg(list(work)?)
        .args(["-P", &work.concurrency.to_string(), "-n", "1"]);
    command.args([
        "curl",
        "--silent",
        "--max-time",
        "60",
        "--output",
        "/dev/null",
        "--write-out",
        "%{json}\\n",
    ]);
    Ok(command)
}

/// Names of our own: of files of one name it keeps a few.
fn aria2(places: &Places, work: &Work<'_>) -> Result<Command, String> {
    let lines = work.urls.iter().enumerate().map(|(number, url)| format!("{url}\n  out={number}\n"));
    let input = write(work, "aria2.input", lines.collect())?;
    let mut command = unpacked(places, "aria2", "usr/bin/aria2c");
    command.args([
        "--quiet",
        "--no-conf",
        "--split=1",
        "--max-connection-per-server=1",
        "--file-allocation=none",
    ]);
    command.arg(format!("--max-concurrent-downloads={}", work.concurrency));
    command
        .arg(format!("--dir={}", work.folder.join("files").display()))
        .arg("-i")
        .arg(input);
    Ok(command)
}

fn wget2(places: &Places, work: &Work<'_>) -> Result<Command, String> {
    let mut command = unpacked(places, "wget2", "usr/bin/wget2");
    command.args(["--quiet", "--no-config", "--no-robots", "--tries=3", "--hsts=off"]);
    command.arg(format!("--max-threads={}", work.concurrency));
    command
        .arg(format!("--directory-prefix={}", work.folder.join("files").display()))
        .arg("--input-file")
        .arg(list(work)?);
    command.env("HOME", work.folder);
    Ok(command)
}

/// A program of a Debian package that was unpacked and not installed.
fn unpacked(places: &Places, folder: &str, program: &str) -> Command {
    let root = places.installed.join(folder);
    let mut command = Command::new(root.join(program));
    command.env(
        "LD_LIBRARY_PATH",
        fs::read_to_string(root.join("libraries")).unwrap_or_default().trim(),
    );
    command
}

fn aiohttp(places: &Places, work: &Work<'_>) -> Result<Command, String> {
    python(places, work, "fetch_aiohttp.py")
}

fn httpx(places: &Places, work: &Work<'_>) -> Result<Command, String> {
    python(places, work, "fetch_httpx.py")
}

fn scrapy(places: &Places, work: &Work<'_>) -> Result<Command, String> {
    python(places, work, "fetch_scrapy.py")
}

fn python(places: &Places, work: &Work<'_>, program: &str) -> Result<Command, String> {
    let mut command = Command::new(places.installed.join("fetch-python/venv/bin/python"));
    command
        .arg(places.peers.join("fetch").join(program))
        .arg(list(work)?)
        .arg(work.concurrency.to_string());
    Ok(command)
}

fn oha(places: &Places, work: &Work<'_>) -> Result<Command, String> {
    let mut command = Command::new(places.installed.join("oha/bin/oha"));
    command.args([
        "--no-tui",
        "--urls-from-file",
        "-n",
        &work.urls.len().to_string(),
        "-c",
        &work.concurrency.to_string(),
    ]);
    command.arg(list(work)?);
    Ok(command)
}
