//! `anabranch fetch` as a process, against servers that are not ours: what ends as which record, and what a run is worth that was
//! killed.

mod setup;
mod ends;
mod jobs;
mod output;
mod faults;
mod httpbin;
mod nginx;
mod crawl;
mod examples;
mod chaos;
