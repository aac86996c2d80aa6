//! Runs over a network in memory, while the clock stands still.

mod network;
mod answers;
mod limits;
mod ends;
mod crawl;
mod files;
