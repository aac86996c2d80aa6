//! Snapshots of drawn waterfalls.

use super::bar::nice_step;
use super::text::tick_text;
use super::*;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn piece(at: u64, length: u64, mark: Mark) -> Piece {
    Piece {
        at: ms(at),
        length: ms(length),
        mark,
    }
}

fn row(name: &str, started: u64, took: u64, outcome: &str, pieces: Vec<Piece>) -> Row {
    Row {
        name: name.into(),
        started: Some(ms(started)),
        took: ms(took),
        outcome: outcome.into(),
        pieces,
        ..Row::default()
    }
}

fn page() -> Waterfall {
    let profile = row(
        "profile",
        0,
        1000,
        "ok",
        vec![
            piece(0, 50, Mark::Connect),
            piece(50, 750, Mark::FirstByte),
            piece(800, 200, Mark::Body),
        ],
    );
    let mut coupons = row("coupons", 1000, 900, "ok", vec![piece(1000, 900, Mark::FirstByte)]);
    coupons.waits = vec!["profile".into()];
    let mut cart = row(
        "cart",
        0,
        500,
        "timeout",
        vec![
            piece(0, 200, Mark::FirstByte),
            piece(200, 0, Mark::Failed),
            piece(200, 100, Mark::Between),
            piece(300, 200, Mark::FirstByte),
            piece(500, 0, Mark::Failed),
        ],
    );
    cart.note = "no whole answer within 200 ms".into();
    // The answer came after 450 ms and was looked at for the last 50.
    let rank = row("rank", 0, 500, "ok", vec![piece(0, 450, Mark::FirstByte)]);
    let tiny = row("tiny", 2, 0, "ok", vec![]);
    let skipped = Row {
        name: "extra".into(),
        outcome: "skipped".into(),
        ..Row::default()
    };
    Waterfall {
        took: ms(2000),
        rows: vec![profile, coupons, cart, rank, tiny, skipped],
    }
}

#[test]
fn a_page_as_it_is_drawn() {
    let expected = "          |0          |500 ms     |1 s        |1.5 s      |2 s
  profile |c==================#####                        |   1.00 s  ok
  coupons |.. after profile .......======================  |   900 ms  ok
  cart    |====x~~====x                                    |   500 ms  timeout
            no whole answer within 200 ms
  rank    |============                                    |   500 ms  ok
  tiny    |*                                               |     0 µs  ok
  extra   |                                                |           skipped

  . waits for calls   c connect   = first byte   # body   x attempt failed   ~ between attempts   * no attempt
";
    assert_eq!(page().render(78, false), expected);
}

#[test]
fn colour_changes_nothing_but_colour() {
    let colored = page().render(78, true);
    let mut plain = String::new();
    let mut rest = colored.as_str();
    while let Some(start) = rest.find("\x1b[") {
        plain.push_str(&rest[..start]);
        rest = &rest[start + rest[start..].find('m').unwrap() + 1..];
    }
    plain.push_str(rest);
    assert_eq!(plain, page().render(78, false));
    assert_ne!(plain, colored);
}

#[test]
fn the_summary_adds_up_what_ran() {
    assert_eq!(page().summary(), "one after another 2.90 s, at once 2.00 s, 1.4 times faster");
    assert_eq!(page().slowest_path(), (ms(1900), vec!["profile", "coupons"]));
}

#[test]
fn extremes_are_drawn_without_a_panic() {
    assert_eq!(Waterfall::default().render(0, false).lines().count(), 1);
    let long = row(&"n".repeat(80), 0, 86_400_000, "ok\x1b[2J", vec![piece(0, 86_400_000, Mark::Body)]);
    let drawn = Waterfall {
        took: Duration::ZERO,
        rows: vec![long],
    }
    .render(40, false);
    assert!(!drawn.contains('\x1b') && drawn.contains("nnn~ |##"), "{drawn}");
}

#[test]
fn times_have_three_digits_or_so() {
    for (micros, text) in [
        (0, "0 µs"),
        (80, "80 µs"),
        (999, "999 µs"),
        (1_240, "1.2 ms"),
        (9_949, "9.9 ms"),
        (412_000, "412 ms"),
        (999_600, "1.00 s"),
        (2_410_000, "2.41 s"),
        (123_400_000, "123 s"),
    ] {
        assert_eq!(span_text(Duration::from_micros(micros)), text);
    }
    for (micros, text) in [
        (0, "0"),
        (500, "500 µs"),
        (500_000, "500 ms"),
        (1_500_000, "1.5 s"),
        (20_000_000, "20 s"),
    ] {
        assert_eq!(tick_text(Duration::from_micros(micros)), text);
    }
}

#[test]
fn notes_are_broken_at_blanks() {
    assert_eq!(wrapped("no whole answer within 100ms", 12), ["no whole", "answer", "within 100ms"]);
    assert_eq!(wrapped("unbreakable word", 4), ["unbreakable", "word"]);
    assert_eq!(wrapped("", 4), Vec::<String>::new());
}

#[test]
fn steps_are_round() {
    for (least, step) in [(1, 1), (3, 5), (80_000, 100_000), (120_000, 200_000), (2_100_000, 5_000_000)] {
        assert_eq!(nice_step(Duration::from_micros(least)), Duration::from_micros(step));
    }
}
