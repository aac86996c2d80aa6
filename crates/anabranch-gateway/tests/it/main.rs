//! The gateway from outside.

mod specs;
