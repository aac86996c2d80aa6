//! Host names to addresses: getaddrinfo on a few threads of our own, with a small cache in front.
//!
//! getaddrinfo blocks for as long as it likes, so a look-up that stalls costs one of a few threads and never the loop.
//! Threads start with the first name and end after 10 idle seconds. One look-up serves all who ask for a name meanwhile.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use super::lookups::{unknown, Addresses, Ask, Lookups, MOST_THREADS, THREADS};
use crate::{CallError, Phase};

/// Looks up host names. Clones share one cache and its threads; give one resolver to all clients of a process.
#[derive(Clone)]
pub struct Resolver(Arc<Names>);

enum Names {
    Table(HashMap<String, Addresses>),
    System(Lookups),
}

impl Resolver {
    /// The system's resolver (getaddrinfo: `/etc/hosts`, `resolv.conf` and whatever `nsswitch.conf` names). Answers are kept
    /// 10 s, failures 1 s; the last good answer stands in for a failed look-up for up to 5 minutes.
    pub fn system() -> Self {
        Resolver::asking(THREADS, Box::new(getaddrinfo))
    }

    /// The same with this many look-ups at once, 1 to 64 in place of 4: for a client that asks very many hosts. 64 names may wait for each.
    pub fn system_with_threads(threads: usize) -> Self {
        Resolver::asking(threads.clamp(1, MOST_THREADS), Box::new(getaddrinfo))
    }

    /// Knows only the names of this table, for tests.
    pub fn table<N: Into<String>>(names: impl IntoIterator<Item = (N, Vec<IpAddr>)>) -> Self {
        Resolver(Arc::new(Names::Table(
            names.into_iter().map(|(name, addresses)| (name.into(), addresses.into())).collect(),
        )))
    }

    pub(super) fn asking(threads: usize, ask: Box<Ask>) -> Self {
        Resolver(Arc::new(Names::System(Lookups::new(threads, ask))))
    }

    /// The addresses of a host, in the resolver's order; an address literal is its own answer. Waits at most `limit`.
    /// Dropping the future leaves the look-up running for whoever asks next.
    ///
    /// # Errors
    /// [`Kind::Dns`](crate::Kind::Dns) if the name has no address, [`Kind::Timeout`](crate::Kind::Timeout) if the resolver did not answer in time.
    pub async fn lookup(&self, host: &str, limit: Duration) -> Result<Addresses, CallError> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(Arc::from([address]));
        }
        let answer = match &*self.0 {
            Names::Table(table) => table.get(host).cloned().ok_or_else(|| unknown("not in the table")),
            Names::System(system) => system.lookup(host, limit).await,
        };
        answer.map_err(|error| error.in_phase(Phase::Dns))
    }
}

fn getaddrinfo(host: &str) -> io::Result<Vec<IpAddr>> {
    Ok((host, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::lookups::NAMES;
    use crate::Kind;
    use tokio::time::Instant;
    use futures_util::stream::{FuturesUnordered, StreamExt};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{mpsc, Mutex};

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const LIMIT: Duration = Duration::from_secs(2);

    /// A resolver that counts and answers by script: `true` is an address.
    fn scripted(script: Vec<bool>) -> (Resolver, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let ask = move |_: &str| {
            let nth = count.fetch_add(1, Ordering::SeqCst);
            if script[nth.min(script.len() - 1)] {
                Ok(vec![HOME])
            } else {
                Err(io::Error::other("no such host"))
            }
        };
        (Resolver::asking(THREADS, Box::new(ask)), asked)
    }

    /// Moves tokio's clock. The look-ups themselves run on real threads, so the clock is held only between them.
    async fn pass(duration: Duration) {
        tokio::time::pause();
        tokio::time::advance(duration).await;
        tokio::time::resume();
    }

    #[tokio::test]
    async fn an_answer_is_kept_for_ten_seconds() {
        let (resolver, asked) = scripted(vec![true]);
        resolver.lookup("shop", LIMIT).await.unwrap();
        pass(Duration::from_secs(9)).await;
        resolver.lookup("shop", LIMIT).await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        pass(Duration::from_secs(2)).await;
        resolver.lookup("shop", LIMIT).await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_failure_is_kept_for_one_second() {
        let (resolver, asked) = scripted(vec![false, true]);
        assert_eq!(resolver.lookup("shop", LIMIT).await.unwrap_err().kind(), Kind::Dns);
        assert!(resolver.lookup("shop", LIMIT).await.is_err());
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        pass(Duration::from_millis(1100)).await;
        assert!(resolver.lookup("shop", LIMIT).await.is_ok());
    }

    #[tokio::test]
    async fn the_last_good_answer_stands_in_for_five_minutes() {
        let (resolver, _) = scripted(vec![true, false]);
        resolver.lookup("shop", LIMIT).await.unwrap();
        pass(Duration::from_secs(290)).await;
        assert_eq!(resolver.lookup("shop", LIMIT).await.unwrap()[..], [HOME]);
        pass(Duration::from_secs(15)).await;
        assert_eq!(resolver.lookup("shop", LIMIT).await.unwrap_err().kind(), Kind::Dns);
    }

    #[tokio::test]
    async fn one_lookup_serves_all_who_ask_meanwhile() {
        let (resolver, asked) = scripted(vec![true]);
        let (one, two, three) = tokio::join!(
            resolver.lookup("shop", LIMIT),
            resolver.lookup("shop", LIMIT),
            resolver.lookup("shop", LIMIT)
        );
        assert!(one.is_ok() && two.is_ok() && three.is_ok());
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_silent_resolver_costs_four_threads_and_the_limit() {
        let (release, held) = mpsc::sync_channel::<()>(0);
        let held = Mutex::new(held);
        let running = Arc::new(AtomicUsize::new(0));
        let count = running.clone();
        let ask = move |_: &str| {
            count.fetch_add(1, Ordering::SeqCst);
            let _released = held.lock().unwrap().recv();
            Ok(vec![HOME])
        };
        let resolver = Resolver::asking(THREADS, Box::new(ask));
        let started = Instant::now();
        let names: Vec<String> = (0..8).map(|n| format!("host{n}")).collect();
        let lookups: Vec<_> = names.iter().map(|name| resolver.lookup(name, Duration::from_millis(50))).collect();
        let mut lookups: FuturesUnordered<_> = lookups.into_iter().collect();
        while let Some(answer) = lookups.next().await {
            let error = answer.unwrap_err();
            assert_eq!((error.kind(), error.phase()), (Kind::Timeout, Some(Phase::Dns)));
        }
        assert!(started.elapsed() < Duration::from_secs(5));
        assert!(running.load(Ordering::SeqCst) <= THREADS);
        drop(release);
    }

    #[tokio::test]
    async fn more_threads_are_used_where_they_are_asked_for() {
        let (release, held) = mpsc::sync_channel::<()>(0);
        let held = Mutex::new(held);
        let running = Arc::new(AtomicUsize::new(0));
        let count = running.clone();
        let ask = move |_: &str| {
            count.fetch_add(1, Ordering::SeqCst);
            let _released = held.lock().unwrap().recv();
            Ok(vec![HOME])
        };
        let resolver = Resolver::asking(9, Box::new(ask));
        let names: Vec<String> = (0..9).map(|n| format!("host{n}")).collect();
        let mut lookups: FuturesUnordered<_> = names.iter().map(|name| resolver.lookup(name, LIMIT)).collect();
        while running.load(Ordering::SeqCst) < 9 {
            let _waiting = crate::Deadline::after(Duration::from_millis(1)).bound(lookups.next()).await;
        }
        drop(release);
        while let Some(answer) = lookups.next().await {
            assert!(answer.is_ok());
        }
    }

    #[tokio::test]
    async fn literals_and_tables_ask_nobody() {
        let resolver = Resolver::table([("shop", vec![HOME])]);
        assert_eq!(resolver.lookup("::1", LIMIT).await.unwrap()[0].to_string(), "::1");
        assert_eq!(resolver.lookup("shop", LIMIT).await.unwrap()[..], [HOME]);
        assert_eq!(resolver.lookup("cart", LIMIT).await.unwrap_err().kind(), Kind::Dns);
    }

    #[tokio::test]
    async fn made_up_names_do_not_fill_the_memory() {
        let (resolver, _) = scripted(vec![false]);
        for n in 0..NAMES + 50 {
            let _unknown = resolver.lookup(&format!("host{n}"), LIMIT).await;
        }
        let Names::System(system) = &*resolver.0 else {
            panic!("a scripted resolver is a system")
        };
        assert!(system.known() <= NAMES);
    }
}
