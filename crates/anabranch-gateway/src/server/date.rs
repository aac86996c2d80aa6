//! The `Date` header, formatted once a second and thread.

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

thread_local! {
    static DATE: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

/// Lends the current date in the form of RFC 9110 section 5.6.7.
pub(super) fn with(take: impl FnOnce(&[u8])) {
    let second = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    DATE.with_borrow_mut(|(at, text)| {
        if *at != second || text.is_empty() {
            *at = second;
            *text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
        }
        take(text.as_bytes());
    });
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_date_is_now() {
        super::with(|date| {
            let text = std::str::from_utf8(date).expect("ascii");
            let then = httpdate::parse_http_date(text).expect("a date");
            let apart = std::time::SystemTime::now().duration_since(then).expect("in the past");
            assert!(apart.as_secs() <= 2, "{text}");
        });
    }
}
