//! One client and very many endpoints, as a crawl has them.

use std::time::Duration;

use anabranch::Client;
use anabranch::client::{Endpoint, HttpVersion, WireSettings};
use tokio::time::{advance, sleep};

use crate::client::{HELLO, Network, get, ms, serve};
use crate::client_http2;

/// A client whose peers all answer; over HTTP/2 if they are asked to.
fn client(max_idle: usize, http: HttpVersion) -> Client {
    let mut network = Network::with_builder(&[ms(0)], |builder| builder.max_idle(max_idle));
    let client = network.client.clone();
    tokio::spawn(async move {
        loop {
            let stream = network.accept().await;
            match http {
                HttpVersion::Http2 => tokio::spawn(client_http2::serve(stream)),
                _ => tokio::spawn(serve(stream, HELLO)),
            };
        }
    });
    client
}

fn endpoint(nth: usize, http: HttpVersion) -> Endpoint {
    let settings = WireSettings {
        http,
        idle_timeout: Duration::from_secs(3600),
        ..WireSettings::default()
    };
    Endpoint::new(&format!("http://host{nth}.test"), settings).unwrap()
}

#[tokio::test(start_paused = true)]
async fn of_all_connections_those_that_rested_longest_go() {
    for http in [HttpVersion::Http1, HttpVersion::Http2] {
        let client = client(16, http);
        let endpoints: Vec<_> = (0..40).map(|nth| endpoint(nth, http)).collect();
        for endpoint in &endpoints {
            assert!(get(&client, endpoint).await.is_ok());
            // Less than the time between two sweeps: nothing but the limit closes one.
            advance(ms(1)).await;
            let kept = client.counts().connections;
            assert!(kept <= 17, "{kept}");
        }
        let mut reused = Vec::new();
        for endpoint in endpoints.iter().rev() {
            reused.push(get(&client, endpoint).await.unwrap().facts().reused);
        }
        let kept = reused.iter().take_while(|reused| **reused).count();
        assert!((13..=16).contains(&kept), "{reused:?}");
        assert!(reused[kept..].iter().all(|reused| !reused), "those asked last are kept: {reused:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_in_use_does_not_count_and_is_not_closed() {
    let client = client(1, HttpVersion::Http2);
    let (busy, other) = (endpoint(0, HttpVersion::Http2), endpoint(1, HttpVersion::Http2));
    let wait = anabranch::Request::get("/wait").unwrap();
    let waiting = async {
        let (marks, mut timings) = (anabranch::Marks::new(), Default::default());
        client.exchange(&busy, &wait, &Default::default(), &marks, &mut timings).await
    };
    let others = async {
        for _ in 0..5 {
            sleep(ms(10)).await;
            assert!(get(&client, &other).await.is_ok());
        }
    };
    let (answer, ()) = tokio::join!(waiting, others);
    assert_eq!(answer.unwrap().body(), "HTTP/2.0 /wait");
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_nobody_has_are_forgotten() {
    let client = client(100, HttpVersion::Http1);
    for nth in 0..4500 {
        assert!(get(&client, &endpoint(nth, HttpVersion::Http1)).await.is_ok());
    }
    sleep(ms(1100)).await;
    let last = endpoint(0, HttpVersion::Http1);
    for _ in 0..3 {
        assert!(get(&client, &last).await.is_ok());
        sleep(ms(100)).await;
    }
    let counts = client.counts();
    assert_eq!((counts.endpoints, counts.connections), (1, 1), "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_somebody_has_and_nobody_asks_are_forgotten_after_a_while() {
    let client = client(100, HttpVersion::Http1);
    let settings = WireSettings {
        idle_timeout: ms(500),
        ..WireSettings::default()
    };
    let endpoints: Vec<_> = (0..4500)
        .map(|nth| Endpoint::new(&format!("http://host{nth}.test"), settings.clone()).unwrap())
        .collect();
    for endpoint in &endpoints {
        assert!(get(&client, endpoint).await.is_ok());
    }
    assert_eq!(client.counts().endpoints, 4500);
    for _ in 0..70 {
        sleep(ms(1000)).await;
        assert!(get(&client, &endpoints[0]).await.is_ok());
    }
    assert!(client.counts().endpoints <= 2, "{:?}", client.counts());
    assert!(
        get(&client, &endpoints[3]).await.is_ok(),
        "they are known again when they are asked"
    );
}
