//! The check agrees with the reference in verdict, shape, place and words, wherever odd bytes fall among the blocks of 64 bytes and
//! the kilobytes in which marks are found.

use proptest::prelude::*;

use super::reference;
use crate::json::tests_support::any_json;
use crate::json::validate::{validate, Limits};

#[track_caller]
fn agrees(bytes: &[u8]) {
    agrees_within(bytes, &Limits::default());
}

#[track_caller]
fn agrees_within(bytes: &[u8], limits: &Limits) {
    let (new, old) = (validate(bytes, limits), reference::validate(bytes, limits));
    assert_eq!(new, old, "{:?}", String::from_utf8_lossy(bytes));
}

/// What may be odd in a string, each in one piece.
const ODD: [&[u8]; 22] = [
    b"\"",
    b"\\",
    b"\\\"",
    b"\\\\",
    b"\\\\\\",
    b"\\\\\\\\\"",
    b"\\n",
    b"\\x",
    b"\\u0041",
    b"\\u004",
    b"\\u\"",
    b"\n",
    b"\0",
    b"\x1f",
    b"\x7f",
    "é".as_bytes(),
    "€".as_bytes(),
    "😀".as_bytes(),
    b"\xff",
    b"\xc3",
    b"\",\"",
    b"\":{\"",
];

#[test]
fn odd_pieces_of_strings_agree_at_every_place_and_length() {
    for piece in ODD {
        for length in 0..=300usize {
            for before in [0, 1, 2, length / 3, length.saturating_sub(1), length] {
                let before = before.min(length);
                let (front, back) = ("x".repeat(before), "y".repeat(length - before));
                for (opening, closing) in [("\"", "\""), ("{\"", "\":1}"), ("[\"a\",\"", "\",2]"), ("\"", "")] {
                    let document = [opening.as_bytes(), front.as_bytes(), piece, back.as_bytes(), closing.as_bytes()].concat();
                    agrees(&document);
                }
            }
        }
    }
}

#[test]
fn odd_pieces_agree_split_at_every_place_of_two_blocks() {
    for piece in ODD {
        for before in 0..200 {
            let document = [b"[\"", "x".repeat(before).as_bytes(), piece, b"z\",1.5,true]"].concat();
            agrees(&document);
            for end in document.len().saturating_sub(piece.len() + 14)..document.len() {
                agrees(&document[..end]);
            }
        }
    }
}

#[test]
fn runs_of_backslashes_agree_at_every_place_and_length() {
    for before in (0..70).chain([1020, 1021, 1022, 1023, 1024]) {
        for run in 0..140 {
            for after in ["\"", "n\"", "\",\"b\"", "\"]", "x\"]", ""] {
                let document = format!("[\"{}{}{after}", "x".repeat(before), "\\".repeat(run));
                agrees(document.as_bytes());
            }
        }
    }
}

#[test]
fn numbers_and_words_agree_at_every_place_before_the_end() {
    let scalars = [
        "0",
        "-0",
        "7",
        "-7",
        "10",
        "01",
        "-01",
        "1.5",
        "-1.5",
        "1.",
        "-",
        ".5",
        "1e5",
        "1E+5",
        "1.5e-5",
        "1e",
        "1e+",
        "1.e1",
        "-a",
        "1a",
        "0x",
        "123456789012345",
        "1234567890123456",
        "12345678901234567",
        "1234567890.12345",
        "1234567890.123456",
        "0.1234567890123456789",
        "12345678901234.5e6",
        "1234567890123456e7",
        "0e0",
        "00",
        "0.",
        "0.0",
        "-0.0e-0",
        "1..2",
        "1.2.3",
        "1e5.5",
        "true",
        "false",
        "null",
        "tru",
        "fals",
        "nul",
        "truex",
        "nulll",
        "False",
        "t",
        "f",
        "n",
        "\u{0}",
        "é",
    ];
    for scalar in scalars {
        for before in 0..80 {
            for (opening, closing) in [("", ""), ("[", "]"), ("{\"a\":", "}"), ("[1,", ",2]"), ("[", "")] {
                agrees(format!("{}{opening}{scalar}{closing}", " ".repeat(before)).as_bytes());
            }
        }
        agrees(format!("[{scalar},\"{}\"]", "x".repeat(40)).as_bytes());
    }
}

#[test]
fn blanks_and_bytes_like_blanks_agree_at_every_length() {
    for length in 0..=300 {
        for blank in [" ", "\n", "\t", "\r", "\r\n  ", "\u{b}", "\u{c}", "\u{0}", "\u{a0}"] {
            let blanks = blank.repeat(length);
            for document in [
                "%1",
                "1%",
                "[%]",
                "[1%]",
                "[1,%2]",
                "[1%,2]",
                "{%}",
                "{%\"a\":1}",
                "{\"a\"%:1}",
                "{\"a\":%1}",
                "{\"a\":1%}",
                "%",
                "[1%",
            ] {
                agrees(document.replace('%', &blanks).as_bytes());
            }
        }
    }
}

/// Two and a half kilobytes with everything in them, and with strings over the ends of blocks and kilobytes.
fn long_document() -> String {
    let items: Vec<String> = (0..12)
        .map(|id| {
            let escapes = "\\u00e9\\\"\\\\ 😀 é".repeat(id % 5);
            let blanks = "\n\t ".repeat(id % 3);
            format!("{{\"id\":{id},\"n\\\\a\" :{blanks}\"{escapes}\",\"on\":true,\"list\":[1,-2.5e3,[],{{}},null ],{blanks}\"x\":{{\"y\":\"\"}}}}")
        })
        .collect();
    format!(" {{\"items\":[{}],\"text\":\"{}\"}}\n", items.join(","), "long \\n ".repeat(150))
}

#[test]
fn every_prefix_and_every_suffix_of_a_long_document_agree() {
    let document = long_document();
    for place in 0..=document.len() {
        agrees(&document.as_bytes()[..place]);
        agrees(&document.as_bytes()[place..]);
    }
}

#[test]
fn a_long_document_with_one_byte_changed_agrees() {
    let document = long_document();
    for place in 0..document.len() {
        for byte in *b"\"\\,:{}[]0e. \n\x01x\xff" {
            let mut changed = document.clone().into_bytes();
            changed[place] = byte;
            agrees(&changed);
        }
    }
}

#[test]
fn nesting_agrees_at_every_depth() {
    for depth in 0..70 {
        for limit in [0, 1, 2, 31, 63, 64, 65, 1000] {
            let limits = Limits { depth: limit, nodes: 1000 };
            for (opening, inner, closing) in [("[", "", "]"), ("{\"a\":", "1", "}"), ("[{\"a\":", "[]", "}]"), ("[", "{}", "}")] {
                let document = format!("{}{inner}{}", opening.repeat(depth), closing.repeat(depth));
                agrees_within(document.as_bytes(), &limits);
            }
        }
    }
}

/// Bytes that mean something, more often than chance would have it.
fn odd_bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        6 => prop::sample::select(b"\"\"\"\\\\[]{},:,: \n".to_vec()),
        3 => prop::sample::select(b"0123.eE+-tfnu".to_vec()),
        4 => Just(b'a'),
        1 => any::<u8>(),
    ];
    prop::collection::vec(byte, 0..=300)
}

/// Pieces of documents, put together without sense.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "\"a\"",
        "\"a\":",
        "\"",
        "\\",
        "\\\"",
        "0",
        "-1",
        "1.5",
        "e3",
        "true",
        "null",
        " ",
        "\n  ",
        "\\u00e9",
        "é",
        "\u{0}",
        "\"a long string over many bytes, longer than a block of sixty-four of them is\"",
        ",\"b\":[1,2]",
        "{\"c\":{}}",
        "[[]]",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat().into_bytes())
}

/// A document with a few bytes put in, taken out or cut off.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let edit = (
        any::<prop::sample::Index>(),
        any::<u8>(),
        0u8..8,
        prop::sample::select(b"[]{},:\"\\0-1.eEtn u/\n".to_vec()),
    );
    (any_json(), any::<bool>(), 0..40usize, prop::collection::vec(edit, 0..4)).prop_map(|(tree, pretty, copies, edits)| {
        let one = if pretty {
            serde_json::to_string_pretty(&tree)
        } else {
            serde_json::to_string(&tree)
        }
        .unwrap();
        let mut bytes = format!("[{}]", vec![one; copies + 1].join(",")).into_bytes();
        for (place, random, action, likely) in edits {
            let at = place.index(bytes.len() + 1);
            match action {
                0..3 => bytes.insert(at, likely),
                3 => bytes.insert(at, random),
                4..7 if at < bytes.len() => drop(bytes.remove(at)),
                _ => bytes.truncate(at.max(1)),
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn odd_bytes_agree(bytes in odd_bytes(), quoted in any::<bool>()) {
        let document = if quoted { [b"[\"", &bytes[..], b"\"]"].concat() } else { bytes };
        agrees(&document);
    }

    #[test]
    fn soups_agree(bytes in soup(), depth in 0u32..70, nodes in 0usize..60) {
        agrees(&bytes);
        agrees_within(&bytes, &Limits { depth, nodes });
    }

    #[test]
    fn mutated_documents_agree(bytes in mutated(), depth in 0u32..70, nodes in 0usize..60) {
        agrees(&bytes);
        agrees_within(&bytes, &Limits { depth, nodes });
    }

    #[test]
    fn every_prefix_agrees(tree in any_json(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&tree) } else { serde_json::to_string(&tree) }.unwrap();
        for end in 0..=text.len() {
            agrees(&text.as_bytes()[..end]);
        }
    }
}
