//! The gateways that are compared, each started on its own port and pinned to the gateway's core.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::upstream::PARTS;

/// The core of the gateways; load and upstreams have the other.
pub const GATEWAY_CORE: &str = "0";
/// The core of load and upstreams.
pub const LOAD_CORE: &str = "1";

/// A gateway that runs. Killed and reaped when dropped.
pub struct Peer {
    pub name: &'static str,
    pub url: String,
    child: Child,
}

impl Peer {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The gateway itself.
pub fn anabranch(binary: &str, folder: &Path, upstream: u16, port: u16) -> Option<Peer> {
    let mut sources = String::new();
    let mut calls = String::new();
    for (offset, part) in PARTS.iter().enumerate() {
        sources.push_str(&format!("  {part}: {{ url: \"http://127.0.0.1:{}\", in_flight: 20000, queue: 20000, pool: 20000 }}\n", upstream + offset as u16));
        calls.push_str(&format!("      {part}: {part} /{part}/$id\n"));
    }
    let config = format!(
        "listen: 127.0.0.1:{port}\ndefaults: {{ timeout: 4s, retry: 1 }}\nsources:\n{sources}routes:\n  GET /page/{{id:int}}:\n    deadline: 5s\n    need: [activity, items]\n    calls:\n{calls}"
    );
    let file = write(folder, "gateway.yaml", &config);
    let child = pinned(binary).args(["serve", "--cores", "1"]).arg(file).stderr(Stdio::null()).spawn().ok()?;
    Some(Peer { name: "anabranch", url: format!("http://127.0.0.1:{port}/page/7"), child })
}

/// nginx with server-side includes: twelve subrequests, run at once, joined as text.
pub fn nginx_ssi(folder: &Path, upstream: u16, port: u16) -> Option<Peer> {
    let mut upstreams = String::new();
    let mut locations = String::new();
    let mut page = Vec::new();
    for (offset, part) in PARTS.iter().enumerate() {
        upstreams.push_str(&format!("  upstream {part} {{ server 127.0.0.1:{}; keepalive 20000; keepalive_requests 100000000; }}\n", upstream + offset as u16));
        locations.push_str(&format!("    location /{part}/ {{ internal; proxy_pass http://{part}; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}\n"));
        page.push(format!("\"{part}\":<!--# include virtual=\"/{part}/7\" -->"));
    }
    let web = folder.join("www");
    fs::create_dir_all(web.join("page")).ok()?;
    fs::write(web.join("page/7"), format!("{{{}}}", page.join(","))).ok()?;
    let config = format!(
        "worker_processes 1;\nerror_log /dev/null crit;\npid {0}/nginx.pid;\ndaemon off;\nworker_rlimit_nofile 100000;\nevents {{ worker_connections 50000; }}\nhttp {{\n  access_log off;\n  client_body_temp_path {0}/b;\n  proxy_temp_path {0}/p;\n  fastcgi_temp_path {0}/f;\n  uwsgi_temp_path {0}/u;\n  scgi_temp_path {0}/s;\n  keepalive_requests 100000000;\n  default_type application/json;\n{upstreams}  server {{\n    listen 127.0.0.1:{port};\n    location /page/ {{ root {1}; ssi on; ssi_types application/json; }}\n{locations}  }}\n}}\n",
        folder.display(),
        web.display()
    );
    let file = write(folder, "nginx.conf", &config);
    let child = pinned("nginx").arg("-c").arg(file).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
    Some(Peer { name: "nginx SSI", url: format!("http://127.0.0.1:{port}/page/7"), child })
}

/// axum and reqwest, from this binary.
pub fn axum(upstream: u16, port: u16) -> Option<Peer> {
    let this = std::env::current_exe().ok()?;
    let child = pinned(this.to_str()?).args(["axum", &format!("127.0.0.1:{port}"), &upstream.to_string()]).stdout(Stdio::null()).spawn().ok()?;
    Some(Peer { name: "axum + reqwest", url: format!("http://127.0.0.1:{port}/page/7"), child })
}

fn pinned(program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", GATEWAY_CORE, program]);
    command
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).expect("a writable folder");
    path
}
