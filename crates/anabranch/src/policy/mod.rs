//! The policies of one source, each a value that a call asks on its way: may it start now, where does it go, may it be tried again.
//!
//! Every file owns one of them and knows nothing of the others; the order in which a call meets them is the call's own.
//! All of them are shared between tasks and threads, hold no lock across an `await`, and take nothing that a dropped
//! future would not give back, except where their documentation says so.

mod rate;
mod concurrency;
mod slots;
mod balance;
mod backoff;
mod budget;
mod attempts;
mod cache;
mod coalesce;
mod stored;
mod sync;

pub use rate::{Rate, TooFast};
pub use concurrency::{Limiter, Refused};
pub use slots::Slot;
pub use balance::{Balance, Picked};
pub use backoff::Backoff;
pub use budget::{Budget, Token};
pub use attempts::{AttemptEnd, Next, RetrySettings, RetryStatuses};
pub use cache::{
    Asked, Cache, CacheKey, Counts, Freshness, Held, Item, Jitter, Keep, KeyParts, Lookup, NotStored, Reader, StaleUse, Ticket, Times,
    Vary, VaryIndex,
};
pub use coalesce::{Flights, Landed, Role};
pub use stored::{Asking, How, Store, Stored};
