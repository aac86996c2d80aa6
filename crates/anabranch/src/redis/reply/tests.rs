//! Replies whole, in pieces, too large, and broken.

use proptest::prelude::*;

use super::*;

const LIMITS: ReplyLimits = ReplyLimits {
    max_body: 1 << 20,
    binary: Binary::Refuse,
    with_ends: false,
};

/// Reads one reply that comes in pieces of so many bytes; what is left of the input has to be nothing.
fn read_in(wire: &[u8], piece: usize, limits: ReplyLimits) -> Result<String, CallError> {
    let (mut decoder, mut input) = (Decoder::new(fault::answer), BytesMut::new());
    let mut end = None;
    for bytes in wire.chunks(piece) {
        assert!(end.is_none(), "a reply ended before its bytes did");
        input.extend_from_slice(bytes);
        end = decoder.read(&mut input, Some(limits))?;
    }
    assert!(input.is_empty(), "{} bytes are left over", input.len());
    end.expect("the reply is whole").map(|reply| String::from_utf8(reply.json).unwrap())
}

fn read(wire: &str) -> Result<String, CallError> {
    read_limited(wire.as_bytes(), LIMITS)
}

/// Reads it whole and byte by byte: it must make no difference.
fn read_limited(wire: &[u8], limits: ReplyLimits) -> Result<String, CallError> {
    let whole = read_in(wire, wire.len().max(1), limits);
    let bytewise = read_in(wire, 1, limits);
    let told = |result: &Result<String, CallError>| match result {
        Ok(json) => json.clone(),
        Err(error) => error.to_string(),
    };
    assert_eq!(told(&whole), told(&bytewise));
    whole
}

fn fault_of(wire: &str) -> (Kind, String) {
    let error = read(wire).expect_err(wire);
    (error.kind(), error.detail().to_owned())
}

#[test]
fn every_type_has_its_json() {
    for (wire, json) in [
        ("+OK\r\n", r#""OK""#),
        ("$5\r\nhe\"lo\r\n", r#""he\"lo""#),
        ("$0\r\n\r\n", r#""""#),
        ("$4\r\n\r\n\r\n\r\n", r#""\r\n\r\n""#),
        ("=8\r\ntxt:some\r\n", r#""some""#),
        (":-42\r\n", "-42"),
        (":+7\r\n", "7"),
        (
            "(3492890328409238509324850943850943825024385\r\n",
            "3492890328409238509324850943850943825024385",
        ),
        (",3.0\r\n", "3.0"),
        (",1e+20\r\n", "1e+20"),
        (",.5\r\n", "0.5"),
        (",inf\r\n", r#""inf""#),
        (",-inf\r\n", r#""-inf""#),
        (",nan\r\n", r#""nan""#),
        ("#t\r\n", "true"),
        ("#f\r\n", "false"),
        ("_\r\n", "null"),
        ("$-1\r\n", "null"),
        ("*-1\r\n", "null"),
        ("*0\r\n", "[]"),
        ("*3\r\n:1\r\n*2\r\n$1\r\na\r\n_\r\n*0\r\n", r#"[1,["a",null],[]]"#),
        ("~2\r\n+a\r\n+b\r\n", r#"["a","b"]"#),
        ("%0\r\n", "{}"),
        (
            "%3\r\n+a\r\n:1\r\n:2\r\n%1\r\n#t\r\n,1.5\r\n,inf\r\n*0\r\n",
            r#"{"a":1,"2":{"true":1.5},"inf":[]}"#,
        ),
    ] {
        assert_eq!(read(wire).unwrap_or_else(|error| panic!("{wire:?}: {error}")), json, "{wire:?}");
    }
}

#[test]
fn pushes_and_attributes_are_passed_over() {
    assert_eq!(read(">2\r\n+message\r\n*1\r\n$3\r\nabc\r\n:1\r\n").unwrap(), "1");
    assert_eq!(
        read("|1\r\n+ttl\r\n*2\r\n:1\r\n:2\r\n*2\r\n|1\r\n+a\r\n+b\r\n:1\r\n:2\r\n").unwrap(),
        "[1,2]"
    );
    assert_eq!(
        read(">0\r\n|0\r\n%1\r\n|1\r\n_\r\n-ERR\r\n+k\r\n|1\r\n!3\r\nERR\r\n_\r\n+v\r\n").unwrap(),
        r#"{"k":"v"}"#
    );
}

#[test]
fn a_push_may_come_while_nobody_asks_and_an_answer_may_not() {
    let (mut decoder, mut input) = (Decoder::new(fault::answer), BytesMut::from(">1\r\n$10\r\nab"));
    assert!(decoder.read(&mut input, None).unwrap().is_none());
    input.extend_from_slice(b"cdefghij\r\n:1\r\n");
    assert_eq!(decoder.read(&mut input, None).unwrap_err().kind(), Kind::Protocol);
    let reply = decoder.read(&mut input, Some(LIMITS)).unwrap().unwrap().unwrap();
    assert_eq!(reply.json, b"1");
}

#[test]
fn an_error_fails_the_call_wherever_it_stands() {
    let wrong = (
        Kind::Status,
        "WRONGTYPE: the key holds another type than the command works on".to_owned(),
    );
    assert_eq!(fault_of("-WRONGTYPE Operation\r\n"), wrong);
    assert_eq!(fault_of("!19\r\nWRONGTYPE Operation\r\n"), wrong);
    assert_eq!(
        fault_of("*3\r\n:1\r\n*2\r\n-WRONGTYPE Operation\r\n*1\r\n+a\r\n%1\r\n+a\r\n-ERR other\r\n"),
        wrong
    );
}

#[test]
fn bytes_that_are_no_text_are_refused_or_base64() {
    let wire = b"*2\r\n$2\r\n\xff\x00\r\n$2\r\nok\r\n";
    assert_eq!(read_limited(wire, LIMITS).unwrap_err().kind(), Kind::Decode);
    let base64 = ReplyLimits {
        binary: Binary::Base64,
        ..LIMITS
    };
    assert_eq!(read_limited(wire, base64).unwrap(), r#"[{"base64":"/wA="},"ok"]"#);
    assert_eq!(
        read_limited(b"%1\r\n$1\r\n\xff\r\n:1\r\n", base64).unwrap_err().kind(),
        Kind::Decode
    );
}

#[test]
fn keys_of_objects_are_single_values() {
    for wire in [
        "%1\r\n*2\r\n:1\r\n:2\r\n*1\r\n+a\r\n",
        "%2\r\n_\r\n%1\r\n+a\r\n:1\r\n+b\r\n:2\r\n",
        "%1\r\n%0\r\n:1\r\n",
    ] {
        assert_eq!(fault_of(wire).0, Kind::Decode, "{wire:?}");
    }
}

#[test]
fn depth_is_bounded_and_what_is_too_deep_is_passed_over() {
    let nested = |levels: usize, inside: &str| format!("{}{inside}", "*1\r\n".repeat(levels));
    assert_eq!(
        read(&nested(64, ":1\r\n")).unwrap(),
        format!("{}1{}", "[".repeat(64), "]".repeat(64))
    );
    let deep = format!("*2\r\n{}+after\r\n", nested(100_000, ":1\r\n"));
    assert!(fault_of(&deep).1.contains("deeper than 64"));
}

#[test]
fn size_is_bounded_and_what_is_too_large_is_passed_over() {
    let limits = ReplyLimits { max_body: 64, ..LIMITS };
    let fits = "x".repeat(62);
    assert_eq!(read_limited(format!("$62\r\n{fits}\r\n").as_bytes(), limits).unwrap().len(), 64);
    let list = format!("*40\r\n{}", ":1\r\n".repeat(40));
    let quotes = "\"".repeat(40);
    let tail = ":1\r\n$3\r\nabc\r\n%1\r\n+a\r\n_\r\n";
    for wire in [
        format!("$63\r\n{}\r\n", "x".repeat(63)),
        format!("$1000\r\n{}\r\n", "x".repeat(1000)),
        format!("*4\r\n$1000\r\n{}\r\n{tail}", "x".repeat(1000)),
        format!("*4\r\n$40\r\n{quotes}\r\n{tail}"),
        list.clone(),
        format!("*4\r\n{list}{tail}"),
        format!("%1\r\n+{}\r\n:1\r\n", "x".repeat(70)),
    ] {
        let error = read_limited(wire.as_bytes(), limits).expect_err(&wire);
        assert_eq!(error.kind(), Kind::TooLarge, "{wire:?}");
    }
    let base64 = ReplyLimits {
        binary: Binary::Base64,
        ..limits
    };
    assert_eq!(
        read_limited(format!("$42\r\n{}\r\n", "x".repeat(42)).as_bytes(), base64)
            .unwrap()
            .len(),
        44
    );
    let bytes = [b"$42\r\n".as_slice(), &[0xff; 42], b"\r\n"].concat();
    assert_eq!(read_limited(&bytes, base64).unwrap_err().kind(), Kind::TooLarge);
}

#[test]
fn a_large_string_takes_no_memory_while_it_is_passed_over() {
    let (mut decoder, mut input) = (Decoder::new(fault::answer), BytesMut::new());
    input.extend_from_slice(b"$536870912\r\n");
    let limits = ReplyLimits { max_body: 1000, ..LIMITS };
    for _ in 0..1024 {
        assert!(decoder.read(&mut input, Some(limits)).unwrap().is_none());
        assert!(input.is_empty() && input.capacity() <= 1 << 20);
        input.extend_from_slice(&[b'x'; 1 << 19]);
    }
    input.extend_from_slice(b"\r\n:1\r\n");
    assert_eq!(
        decoder.read(&mut input, Some(limits)).unwrap().unwrap().unwrap_err().kind(),
        Kind::TooLarge
    );
    assert_eq!(decoder.read(&mut input, Some(limits)).unwrap().unwrap().unwrap().json, b"1");
}

#[test]
fn ends_of_elements_are_noted() {
    let limits = ReplyLimits { with_ends: true, ..LIMITS };
    let (mut decoder, mut input) = (
        Decoder::new(fault::answer),
        BytesMut::from("*4\r\n$1\r\na\r\n_\r\n*2\r\n:1\r\n:2\r\n*0\r\n*0\r\n"),
    );
    let reply = decoder.read(&mut input, Some(limits)).unwrap().unwrap().unwrap();
    assert_eq!(reply.json, br#"["a",null,[1,2],[]]"#);
    assert_eq!(reply.ends, [4, 9, 15, 18]);
    let next = decoder.read(&mut input, Some(limits)).unwrap().unwrap().unwrap();
    assert!(next.json == b"[]" && next.ends.is_empty());
}

#[test]
fn what_is_no_resp_breaks_the_connection() {
    for wire in [
        "\r\n",
        "hello\r\n",
        "HTTP/1.1 400 Bad Request\r\n",
        ":x\r\n",
        ":\r\n",
        ":1.5\r\n",
        ":1e5\r\n",
        "$x\r\n",
        "$-2\r\n",
        "$?\r\n",
        "*?\r\n",
        "*9999999999999999999\r\n",
        "$99999999999999999999\r\n",
        "#x\r\n",
        ",x\r\n",
        ",\r\n",
        "$1\r\nabc",
        "=2\r\nab\r\n",
        ":1\n",
        "*1\r\n>1\r\n",
        "*-2\r\n",
        ".\r\n",
    ] {
        let (mut decoder, mut input) = (Decoder::new(fault::answer), BytesMut::from(wire));
        assert_eq!(
            decoder.read(&mut input, Some(LIMITS)).expect_err(wire).kind(),
            Kind::Protocol,
            "{wire:?}"
        );
    }
    let (mut decoder, mut input) = (Decoder::new(fault::answer), BytesMut::from(&*vec![b'+'; LONGEST_LINE + 1]));
    assert!(decoder.read(&mut input, Some(LIMITS)).is_err());
    let nested = "*999999999999999999\r\n".repeat(40);
    let (mut decoder, mut input) = (Decoder::new(fault::answer), BytesMut::from(nested.as_str()));
    assert!(decoder.read(&mut input, Some(ReplyLimits { max_body: 10, ..LIMITS })).is_err());
}

/// A reply on the wire and its JSON.
fn replies() -> impl Strategy<Value = (String, String)> {
    let string = ".{0,12}".prop_map(|text| {
        let mut json = Vec::new();
        json::write_string(&mut json, &text);
        (format!("${}\r\n{text}\r\n", text.len()), String::from_utf8(json).unwrap())
    });
    let number = any::<i64>().prop_map(|number| (format!(":{number}\r\n"), number.to_string()));
    let leaf = prop_oneof![string, number, Just(("_\r\n".to_owned(), "null".to_owned()))];
    leaf.prop_recursive(4, 40, 6, |inner| {
        let list = prop::collection::vec(inner.clone(), 0..6).prop_map(|items| {
            let (wire, json): (Vec<_>, Vec<_>) = items.into_iter().unzip();
            (format!("*{}\r\n{}", wire.len(), wire.concat()), format!("[{}]", json.join(",")))
        });
        let map = prop::collection::vec((any::<u16>(), inner), 0..6).prop_map(|pairs| {
            let wire: String = pairs
                .iter()
                .map(|(key, (wire, _))| format!("|1\r\n+x\r\n_\r\n:{key}\r\n{wire}"))
                .collect();
            let json: Vec<String> = pairs.iter().map(|(key, (_, json))| format!("\"{key}\":{json}")).collect();
            (format!("%{}\r\n{wire}", pairs.len()), format!("{{{}}}", json.join(",")))
        });
        prop_oneof![list, map]
    })
}

proptest! {
    #[test]
    fn any_reply_in_any_pieces_is_its_json_or_too_large((wire, json) in replies(), piece in 1_usize..40, max_body in 1_usize..300) {
        let limits = ReplyLimits { max_body, ..LIMITS };
        match read_in(wire.as_bytes(), piece, limits) {
            Ok(read) => prop_assert!(read == json && json.len() <= max_body),
            Err(error) => prop_assert!(error.kind() == Kind::TooLarge && json.len() > max_body),
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>(), lines in "([*$%|>+:,_#=!~-][0-9]{0,3}\r\n){0,20}") {
        for wire in [bytes.as_slice(), lines.as_bytes()] {
            let (mut decoder, mut input) = (Decoder::new(fault::answer), BytesMut::from(wire));
            while let Ok(Some(_reply)) = decoder.read(&mut input, Some(ReplyLimits { max_body: 100, ..LIMITS })) {}
        }
    }
}
