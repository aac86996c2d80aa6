//! The same scripts over HTTP/2 with prior knowledge.

use crate::*;
use anabranch_testkit::Fault;
use hyper::client::conn::http2;
use hyper_util::rt::TokioExecutor;
use std::time::Duration;
use tokio::time::Instant;

struct Client2 {
    sender: http2::SendRequest<Full<Bytes>>,
    _connection: JoinSet<()>,
}

impl Client2 {
    async fn on(network: &MemoryNetwork) -> Self {
        let stream = network.connect("x", 80).await.unwrap();
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let _ = connection.await;
        });
        Self {
            sender,
            _connection: tasks,
        }
    }

    async fn get(&self, path: &str) -> hyper::Result<(u16, Bytes)> {
        let request = Request::get(format!("http://x{path}")).body(Full::default()).unwrap();
        let response = self.sender.clone().send_request(request).await?;
        let status = response.status().as_u16();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }
}

#[tokio::test(start_paused = true)]
async fn many_requests_share_a_connection() {
    let (network, served) = host(Reply::get("/part/*").body("ok").delay(Duration::from_secs(2)));
    let client = Client2::on(&network).await;
    let began = Instant::now();
    let (one, two, three) = tokio::join!(client.get("/part/1"), client.get("/part/2"), client.get("/part/3"));
    assert_eq!(
        [one.unwrap(), two.unwrap(), three.unwrap()],
        [(); 3].map(|()| (200, Bytes::from("ok")))
    );
    assert_eq!(began.elapsed().as_secs(), 2);
    let counts = served.counts();
    assert_eq!(
        (
            counts.connections,
            counts.requests,
            counts.requests_pending,
            counts.requests_pending_max
        ),
        (1, 3, 0, 3)
    );
    assert_eq!(client.get("/?q").await.unwrap().0, 404);
    assert_eq!(served.seen()[3].path_and_query, "/?q");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_given_up_is_recorded_while_the_connection_stays() {
    let (network, served) = host(Reply::get("/slow").delay(Duration::from_secs(60)));
    let client = Client2::on(&network).await;
    assert!(tokio::time::timeout(Duration::from_secs(1), client.get("/slow")).await.is_err());
    let counts = served.until(|counts| counts.requests_pending == 0).await;
    assert_eq!((counts.cancelled, counts.connections_open), (1, 1));
    assert_eq!(client.get("/").await.unwrap().0, 404);
}

#[tokio::test(start_paused = true)]
async fn faults_reset_their_stream_and_no_other() {
    for fault in [
        Fault::Reset { after: 0 },
        Fault::CloseBefore,
        Fault::BadChunks,
        Fault::Truncate { after: 2 },
    ] {
        let network = MemoryNetwork::new();
        let upstream = Upstream::new("x")
            .reply(Reply::get("/bad").body("hello").fault(fault.clone()))
            .reply(Reply::any().body("ok"));
        let served = network.host("x:80", upstream);
        let client = Client2::on(&network).await;
        assert!(client.get("/bad").await.is_err(), "{fault:?}");
        assert_eq!(client.get("/").await.unwrap().1, "ok", "{fault:?}");
        assert_eq!(served.counts().cancelled, 0, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_drip_and_run_on() {
    let network = MemoryNetwork::new();
    let drip = Fault::DripBody {
        interval: Duration::from_secs(1),
    };
    let upstream = Upstream::new("x")
        .reply(Reply::get("/drip").body("hello").fault(drip))
        .reply(Reply::get("/big").fault(Fault::BigBody { size: 1_000_000 }))
        .reply(Reply::get("/hang").fault(Fault::Hang));
    let served = network.host("x:80", upstream);
    let client = Client2::on(&network).await;
    let began = Instant::now();
    assert_eq!(client.get("/drip").await.unwrap().1, "hello");
    assert!((4..=5).contains(&began.elapsed().as_secs()));
    assert_eq!(client.get("/big").await.unwrap().1.len(), 1_000_000);
    assert!(tokio::time::timeout(Duration::from_secs(60), client.get("/hang")).await.is_err());
    drop(client);
    assert_eq!(served.until(|counts| counts.connections_open == 0).await.cancelled, 1);
}
