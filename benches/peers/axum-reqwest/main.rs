//! The peer that most Rust people would write: axum in front, reqwest behind, `serde_json::Value` between, one timeout per call, one
//! thread, since it has one core.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use futures_util::future::join_all;
use serde_json::{Map, Value};

const LISTEN: &str = "127.0.0.1:19200";
const FIRST_SERVICE: u16 = 19100;
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
const PARTS: [&str; 12] = [
    "activity",
    "items",
    "prices",
    "stock",
    "rules",
    "banners",
    "coupons",
    "profile",
    "cart",
    "rank",
    "comments",
    "recommend",
];

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let app = Router::new().route("/page/{id}", get(page)).with_state(reqwest::Client::new());
    let listener = tokio::net::TcpListener::bind(LISTEN).await.expect("a free port");
    axum::serve(listener, app).await.expect("serving");
}

async fn page(Path(id): Path<u64>, State(client): State<reqwest::Client>) -> Result<Json<Map<String, Value>>, StatusCode> {
    let calls = PARTS
        .iter()
        .zip(FIRST_SERVICE..)
        .map(|(part, port)| part_of(&client, format!("http://127.0.0.1:{port}/{part}/{id}")));
    let mut reply = Map::new();
    for (part, value) in PARTS.iter().zip(join_all(calls).await) {
        reply.insert((*part).to_string(), value.map_err(|_| StatusCode::BAD_GATEWAY)?);
    }
    Ok(Json(reply))
}

async fn part_of(client: &reqwest::Client, url: String) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
    let answer = client
        .get(url)
        .timeout(CALL_TIMEOUT)
        .send()
        .await?
        .error_for_status()?
        .bytes()
        .await?;
    Ok(serde_json::from_slice(&answer)?)
}
