//! Redis as a source: against a real server over real sockets, and against a scripted peer in memory on a clock that stands still.

mod answers;
mod cluster;
mod peer;
mod outage;
mod sharing;
mod stall;
mod login;

use std::time::Duration;

use anabranch::redis::Redis;
use anabranch::{CallError, Client, Deadline};
use bytes::Bytes;

pub(crate) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// The words of a command, split at blanks.
pub(crate) fn words(text: &str) -> Vec<Bytes> {
    text.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}

/// Asks within five seconds.
pub(crate) async fn ask(redis: &Redis, client: &Client, text: &str) -> Result<String, CallError> {
    ask_within(redis, client, text, ms(5000)).await
}

pub(crate) async fn ask_within(redis: &Redis, client: &Client, text: &str, limit: Duration) -> Result<String, CallError> {
    let answer = redis.command(client, &words(text), Deadline::after(limit)).await?;
    Ok(String::from_utf8(answer.to_vec()).expect("an answer is JSON, and so UTF-8"))
}

/// Asks again until it works; fails the test if that takes too long.
pub(crate) async fn recovers(redis: &Redis, client: &Client, text: &str, within: Duration) -> Duration {
    let started = tokio::time::Instant::now();
    loop {
        match ask_within(redis, client, text, ms(200)).await {
            Ok(_) => return started.elapsed(),
            Err(error) => assert!(started.elapsed() < within, "not well after {within:?}: {error}"),
        }
        tokio::time::sleep(ms(5)).await;
    }
}
