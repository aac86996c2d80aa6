//! The peer that most Rust people would write: axum in front, reqwest behind, `serde_json::Value` between, one timeout per call.

use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use futures_util::future::join_all;
use serde_json::{Map, Value};

use crate::upstream::PARTS;

/// Serves until it is killed.
pub fn serve(listen: &str, port: u16) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let client = reqwest::Client::new();
        let app = Router::new().route("/page/{id}", get(page)).with_state((client, port));
        let listener = tokio::net::TcpListener::bind(listen).await.expect("a free port");
        println!("ready");
        axum::serve(listener, app).await.expect("serving");
    });
}

async fn page(Path(id): Path<u64>, State((client, port)): State<(reqwest::Client, u16)>) -> Result<(axum::http::HeaderMap, String), StatusCode> {
    let calls = PARTS.iter().enumerate().map(|(offset, part)| {
        let url = format!("http://127.0.0.1:{}/{part}/{id}", port + offset as u16);
        let client = client.clone();
        async move {
            let answer = client.get(url).timeout(Duration::from_secs(1)).send().await.ok()?.bytes().await.ok()?;
            serde_json::from_slice::<Value>(&answer).ok()
        }
    });
    let mut reply = Map::new();
    for (part, value) in PARTS.iter().zip(join_all(calls).await) {
        reply.insert((*part).to_string(), value.ok_or(StatusCode::BAD_GATEWAY)?);
    }
    let mut headers = axum::http::HeaderMap::new();
    headers.insert("content-type", axum::http::HeaderValue::from_static("application/json"));
    Ok((headers, Value::Object(reply).to_string()))
}
