//! The kernel's readiness, with waits in nanoseconds: what services and load wait with. A runtime's timers tick in milliseconds, which
//! is more than a good gateway adds.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

/// Events taken at once.
const EVENTS: usize = 256;

/// An epoll instance.
pub struct Poll {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poll {
    /// A new one. Also sets this thread's timer slack to its least, or the kernel would wake it up to 50 µs late.
    pub fn new() -> Poll {
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
        Poll {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).expect("an epoll instance"),
            events: Vec::with_capacity(EVENTS),
        }
    }

    /// Watches a socket until it is closed.
    pub fn watch(&self, socket: impl AsFd, token: u64) {
        epoll::add(&self.epoll, socket, epoll::EventData::new_u64(token), epoll::EventFlags::IN).expect("room in the epoll instance");
    }

    /// Watches for room to write too, or no longer.
    pub fn watch_room(&self, socket: impl AsFd, token: u64, on: bool) {
        let flags = if on {
            epoll::EventFlags::IN | epoll::EventFlags::OUT
        } else {
            epoll::EventFlags::IN
        };
        let _ = epoll::modify(&self.epoll, socket, epoll::EventData::new_u64(token), flags);
    }

    /// Fills in the tokens of sockets that are ready; waits until `until` for the first one, or for ever.
    pub fn wait(&mut self, until: Option<Instant>, ready: &mut Vec<u64>) {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let timeout = left.map(timespec);
        self.events.clear();
        ready.clear();
        // An interrupted wait is one that ended early.
        let _ = epoll::wait(&self.epoll, spare_capacity(&mut self.events), timeout.as_ref());
        ready.extend(self.events.iter().map(|event| event.data.u64()));
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: duration.as_secs().cast_signed(),
        tv_nsec: duration.subsec_nanos().into(),
    }
}
