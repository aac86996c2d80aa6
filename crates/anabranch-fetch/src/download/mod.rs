//! Large files: got in several pieces at once, and gone on with where a broken attempt or a killed process left them.
//!
//! A file grows in its `.part`, with a note beside it (`.part` + `.state`) that says which bytes are still missing and by which validator
//! the server can tell that it is still the same file. The note is written after the bytes that it speaks of are on disk, so that it never
//! promises more than there is. Every request for a part carries `If-Range`: a file that has changed comes anew and as a whole, never half
//! old and half new. Without a strong validator, or where ranges are not honoured, a file comes in one piece.

mod range;
mod missing;
mod note;
mod file;
mod speed;
mod getting;

pub(crate) use getting::{Ask, Getting};
pub(crate) use note::Resume;
pub(crate) use range::{Ranged, is_resumable};

#[cfg(test)]
mod tests;
