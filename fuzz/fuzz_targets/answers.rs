//! Arbitrary bytes as the answer of a peer, in arbitrary pieces, given to our HTTP/1.1 codec and to hyper's. Ours must make of them what
//! hyper makes of them, or refuse them.
//!
//! The first byte of an input says how the answer is asked for and cut, the second seeds the cuts; the rest is the answer, either as it
//! is, so that a change of one byte of the input is a change of one byte of the answer, or in choices of pieces.
#![no_main]

#[path = "../../crates/anabranch/tests/it/corpus/both.rs"]
mod both;
#[path = "../../crates/anabranch/tests/it/corpus/fragments.rs"]
mod fragments;

use anabranch::client::Codec;
use http::Method;
use libfuzzer_sys::{Corpus, fuzz_target};

use both::{Script, Seen, as_strict, ask};

fuzz_target!(|input: &[u8]| -> Corpus {
    let [how, seed, answer @ ..] = input else { return Corpus::Reject };
    let answer = if how & 16 == 0 {
        answer.to_vec()
    } else {
        fragments::put_together(answer)
    };
    let script = Script {
        method: if how & 1 == 0 { Method::GET } else { Method::HEAD },
        closes: how & 2 == 0,
        pieces: in_pieces(&answer, how >> 2 & 3, *seed),
    };
    let ours = paused(Codec::Own, script.clone());
    let hypers = paused(Codec::Hyper, script);
    if let Err(what) = as_strict(&ours, &hypers) {
        panic!("{what}\nours: {ours:?}\nhyper's: {hypers:?}");
    }
    Corpus::Keep
});

fn paused(codec: Codec, script: Script) -> Seen {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.expect("a runtime without I/O needs nothing").block_on(ask(codec, script))
}

fn in_pieces(mut answer: &[u8], how: u8, seed: u8) -> Vec<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(u64::from(seed));
    let most = match how {
        0 => answer.len().max(1),
        1 => 1,
        2 => 8,
        _ => answer.len() / 2 + 1,
    };
    let mut pieces = Vec::new();
    while !answer.is_empty() {
        let size = if how == 0 {
            answer.len()
        } else {
            random.usize(1..=most).min(answer.len())
        };
        let (piece, rest) = answer.split_at(size);
        pieces.push(piece.to_vec());
        answer = rest;
    }
    pieces
}
