//! Upstreams and expectations as data.

pub mod mocks;
