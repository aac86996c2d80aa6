//! The scenes that all gateways are compared in: how slow the services are, and how the page of twelve parts is asked for.

use crate::job::Pace;

/// A scene.
pub struct Scene {
    pub id: &'static str,
    pub title: &'static str,
    /// How long every service takes.
    pub delay_us: u64,
    /// Connections of the clients.
    pub connections: usize,
    pub pace: Pace,
    pub warm_up: Option<Pace>,
    /// Whether the requests in flight are so many that memory is about them.
    pub counts_memory: bool,
}

/// The scenes, shorter ones and fewer of them when it shall be quick.
pub fn all(is_quick: bool) -> Vec<Scene> {
    let seconds = if is_quick { 2.0 } else { 4.0 };
    let saturated = Scene {
        id: "saturated",
        title: "Saturated: services of 0 ms, 32 connections that ask again at once",
        delay_us: 0,
        connections: 32,
        pace: Pace::Closed { seconds },
        warm_up: Some(Pace::Closed { seconds: 0.5 }),
        counts_memory: false,
    };
    let paced = Scene {
        id: "paced",
        title: "500 requests a second by the clock, services of 20 ms",
        delay_us: 20_000,
        connections: 128,
        pace: Pace::Open {
            per_second: 500.0,
            seconds: seconds * 1.5,
        },
        warm_up: Some(Pace::Open {
            per_second: 500.0,
            seconds: 0.5,
        }),
        counts_memory: false,
    };
    let in_flight = Scene {
        id: "in-flight",
        title: "1,000 requests in flight (12,000 calls), services of 2 s",
        delay_us: 2_000_000,
        connections: 1_000,
        pace: Pace::Counted {
            times: 2,
            spread_seconds: 1.0,
        },
        warm_up: None,
        counts_memory: true,
    };
    if is_quick {
        vec![saturated, paced]
    } else {
        vec![saturated, paced, in_flight]
    }
}
