//! Which links become jobs: the rules of the crawl, those of robots.txt, and sitemaps. Nothing here makes requests.

pub mod filter;
pub mod follow;
pub mod robots;
pub mod sitemap;

pub use filter::Filter;
pub use robots::Robots;
