//! The gateways that are compared: how each is started and asked. What they run stands in `benches/peers`, what they need is put into
//! `benches/target/peers` by `scripts/bench`; one that is not there is skipped, with the reason.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where things are.
pub struct Places {
    /// The binary of anabranch.
    pub gateway: PathBuf,
    /// `benches/peers`: programs and configs.
    pub peers: PathBuf,
    /// `benches/target/peers`: what was installed.
    pub installed: PathBuf,
    /// A folder for this run.
    pub run: PathBuf,
}

/// A gateway.
pub struct Peer {
    /// Its folder in `benches/peers` and its name in the results.
    pub id: &'static str,
    /// Its name in tables.
    pub title: &'static str,
    /// Whether `scripts/bench quick` has it.
    pub quick: bool,
    /// The folder in `benches/target/peers` that it needs, if any.
    needs: Option<&'static str>,
    command: fn(&Peer, &Places, &Path) -> Result<Command, String>,
}

/// All of them, in the order of the tables; the first is the one that it is about.
pub const ALL: [Peer; 9] = [
    Peer {
        id: ANABRANCH,
        title: "anabranch",
        quick: true,
        needs: None,
        command: anabranch,
    },
    Peer {
        id: FLOOR,
        title: "(sockets only: the floor)",
        quick: true,
        needs: None,
        command: floor,
    },
    Peer {
        id: NGINX_LUA,
        title: "nginx + Lua",
        quick: true,
        needs: Some("nginx"),
        command: nginx,
    },
    Peer {
        id: NGINX_SSI,
        title: "nginx SSI",
        quick: true,
        needs: Some("nginx"),
        command: nginx,
    },
    Peer {
        id: "axum-reqwest",
        title: "axum + reqwest",
        quick: true,
        needs: None,
        command: axum,
    },
    Peer {
        id: "node-fastify",
        title: "Node fastify + undici",
        quick: false,
        needs: Some("node-fastify"),
        command: node,
    },
    Peer {
        id: TAILCALL,
        title: "Tailcall",
        quick: false,
        needs: Some(TAILCALL),
        command: tailcall,
    },
    Peer {
        id: "krakend",
        title: "KrakenD",
        quick: false,
        needs: Some("krakend"),
        command: krakend,
    },
    Peer {
        id: "python-aiohttp",
        title: "Python aiohttp + uvloop",
        quick: false,
        needs: Some("python-aiohttp"),
        command: python,
    },
];

/// What it is about.
pub const ANABRANCH: &str = "anabranch";
/// Ratios are to this one,
pub const NGINX_LUA: &str = "nginx-lua";
/// and to this one.
pub const NGINX_SSI: &str = "nginx-ssi";
const TAILCALL: &str = "tailcall";
/// No gateway: what the calls cost at the least.
const FLOOR: &str = "floor";

impl Peer {
    /// Its version.
    ///
    /// # Errors
    /// Why it is not there.
    pub fn version(&self, places: &Places) -> Result<String, String> {
        let Some(needs) = self.needs else {
            return Ok(self.own_version(places));
        };
        let installed = places.installed.join(needs);
        if let Ok(reason) = fs::read_to_string(installed.join("skipped")) {
            return Err(reason.trim().to_owned());
        }
        let file = installed.join(if self.id == NGINX_SSI { "version-ssi" } else { "version" });
        fs::read_to_string(file)
            .map(|version| version.trim().to_owned())
            .map_err(|_| "not installed; scripts/bench installs it".to_owned())
    }

    fn own_version(&self, places: &Places) -> String {
        if self.id == FLOOR {
            return "this tree".to_owned();
        }
        if self.id != ANABRANCH {
            return format!("axum {}, reqwest {}, tokio {}", locked("axum"), locked("reqwest"), locked("tokio"));
        }
        let said = Command::new(&places.gateway).arg("--version").output();
        said.map_or_else(
            |_| "unknown".to_owned(),
            |said| String::from_utf8_lossy(&said.stdout).trim().to_owned(),
        )
    }

    /// The command that runs it; `folder` is empty and its own.
    ///
    /// # Errors
    /// What is missing.
    pub fn command(&self, places: &Places, folder: &Path) -> Result<Command, String> {
        (self.command)(self, places, folder)
    }

    /// The request for a page, with `{id}` in it.
    ///
    /// # Errors
    /// The request's file is missing.
    pub fn request(&self, places: &Places) -> Result<String, String> {
        if self.id != TAILCALL {
            return Ok("GET /page/{id} HTTP/1.1\r\nhost: 127.0.0.1:19200\r\n\r\n".to_owned());
        }
        let body = read(&places.peers.join("tailcall/request.json"))?;
        let body = body.trim_end();
        let length = body.replace("{id}", "123456").len();
        let head = "POST /graphql HTTP/1.1\r\nhost: 127.0.0.1:19200\r\ncontent-type: application/json\r\n";
        Ok(format!("{head}content-length: {length}\r\n\r\n{body}"))
    }

    /// The member of its answer that holds the parts.
    pub fn inside(&self) -> Option<&'static str> {
        (self.id == TAILCALL).then_some("data")
    }

    fn folder(&self, places: &Places) -> PathBuf {
        places.peers.join(self.id)
    }

    fn installed(&self, places: &Places) -> PathBuf {
        places.installed.join(self.needs.unwrap_or(self.id))
    }
}

fn anabranch(peer: &Peer, places: &Places, _folder: &Path) -> Result<Command, String> {
    let mut command = Command::new(&places.gateway);
    command
        .args(["serve", "--cores", "1"])
        .arg(peer.folder(places).join("gateway.yaml"));
    Ok(command)
}

/// nginx with the packages' own modules, from where they were unpacked.
fn nginx(peer: &Peer, places: &Places, folder: &Path) -> Result<Command, String> {
    let root = peer.installed(places);
    fs::create_dir_all(folder.join("tmp")).map_err(|error| error.to_string())?;
    for file in fs::read_dir(peer.folder(places)).map_err(|error| error.to_string())?.flatten() {
        fs::copy(file.path(), folder.join(file.file_name())).map_err(|error| error.to_string())?;
    }
    for (name, target) in [("modules", "usr/lib/nginx/modules"), ("lua", "usr/share/lua/5.1")] {
        symlink(root.join(target), folder.join(name)).map_err(|error| error.to_string())?;
    }
    // Started by root, its worker would be `nobody`, who may not read this folder.
    let is_root = fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0);
    let directives = if is_root { "daemon off; user root;" } else { "daemon off;" };
    let mut command = Command::new(root.join("usr/sbin/nginx"));
    command.env("LD_LIBRARY_PATH", read(&root.join("libraries"))?.trim());
    command
        .arg("-p")
        .arg(folder)
        .args(["-c", "nginx.conf", "-e", "stderr", "-g", directives]);
    Ok(command)
}

/// axum and reqwest, built beside this binary.
fn axum(_peer: &Peer, _places: &Places, _folder: &Path) -> Result<Command, String> {
    beside("axum-reqwest")
}

/// Bare sockets, built beside this binary.
fn floor(_peer: &Peer, _places: &Places, _folder: &Path) -> Result<Command, String> {
    beside("floor")
}

fn beside(name: &str) -> Result<Command, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    Ok(Command::new(this.with_file_name(name)))
}

fn node(peer: &Peer, places: &Places, _folder: &Path) -> Result<Command, String> {
    let mut command = Command::new("node");
    command.arg(peer.installed(places).join("server.mjs")).env("NODE_ENV", "production");
    Ok(command)
}

fn python(peer: &Peer, places: &Places, _folder: &Path) -> Result<Command, String> {
    let mut command = Command::new(peer.installed(places).join("venv/bin/python"));
    command.arg(peer.folder(places).join("server.py"));
    Ok(command)
}

fn krakend(peer: &Peer, places: &Places, _folder: &Path) -> Result<Command, String> {
    let installed = peer.installed(places);
    let config = peer.folder(places).join("krakend.json");
    let full = installed.join("bin/krakend-ce");
    let mut command;
    if full.exists() {
        command = Command::new(full);
        command.args(["run", "-c"]);
    } else {
        command = Command::new(installed.join("bin/krakend"));
    }
    command.arg(config).env("GOMAXPROCS", "1").env("USAGE_DISABLE", "1");
    Ok(command)
}

fn tailcall(peer: &Peer, places: &Places, _folder: &Path) -> Result<Command, String> {
    let mut command = Command::new(peer.installed(places).join("bin/tailcall"));
    command
        .arg("start")
        .arg(peer.folder(places).join("page.graphql"))
        .env("TAILCALL_TRACKER", "false");
    Ok(command)
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// The version of a crate that this benchmark was built with.
fn locked(name: &str) -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let wanted = format!("name = \"{name}\"\nversion = \"");
    lock.split_once(&wanted)
        .and_then(|(_, rest)| rest.split('"').next())
        .unwrap_or("unknown")
}
