//! Endpoints of the engine, one for each origin, made when it is first asked. The least used are forgotten, and their idle connections
//! close by themselves.

use std::collections::HashMap;

use anabranch::client::{Endpoint, WireSettings};

/// Endpoints kept. A crawl of more hosts makes some of them again, which costs a few microseconds and a new connection.
const MOST: usize = 4_096;

pub(crate) struct Origins {
    settings: WireSettings,
    by_origin: HashMap<Box<str>, Kept>,
    clock: u64,
}

struct Kept {
    endpoint: Endpoint,
    used: u64,
}

impl Origins {
    pub(crate) fn new(settings: WireSettings) -> Self {
        Origins {
            settings,
            by_origin: HashMap::new(),
            clock: 0,
        }
    }

    /// The endpoint of an origin, such as `https://shop.example:8443`.
    ///
    /// # Errors
    /// The origin cannot be an endpoint: says why.
    pub(crate) fn endpoint(&mut self, origin: &str) -> Result<Endpoint, String> {
        self.clock += 1;
        if let Some(kept) = self.by_origin.get_mut(origin) {
            kept.used = self.clock;
            return Ok(kept.endpoint.clone());
        }
        let mut settings = self.settings.clone();
        if !origin.starts_with("https:") {
            settings.tls = None;
        }
        let endpoint = Endpoint::new(origin, settings).map_err(|error| error.to_string())?;
        if self.by_origin.len() >= MOST {
            self.forget_half();
        }
        let kept = Kept {
            endpoint: endpoint.clone(),
            used: self.clock,
        };
        self.by_origin.insert(origin.into(), kept);
        Ok(endpoint)
    }

    /// Half of them at once: finding the oldest one by one would look at all of them each time.
    fn forget_half(&mut self) {
        let mut used: Vec<u64> = self.by_origin.values().map(|kept| kept.used).collect();
        let (_, &mut middle, _) = used.select_nth_unstable(MOST / 2);
        self.by_origin.retain(|_, kept| kept.used > middle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_keeps_its_endpoint_while_it_is_used() {
        let mut origins = Origins::new(WireSettings::default());
        let shop = origins.endpoint("http://shop").unwrap().id();
        for number in 0..MOST * 2 {
            origins.endpoint(&format!("http://h{number}")).unwrap();
            assert_eq!(origins.endpoint("http://shop").unwrap().id(), shop);
            assert!(origins.by_origin.len() <= MOST);
        }
    }
}
