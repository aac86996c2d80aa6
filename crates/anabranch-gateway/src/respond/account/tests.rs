//! The account as people read it, and as a parser of structured fields does.

use anabranch::CallError;
use proptest::prelude::*;

use super::*;

fn part(name: &'static str, key: &'static str, state: PartState) -> PartAccount<'static> {
    PartAccount {
        key,
        name,
        state,
        ms: 400,
        age: Duration::from_millis(412_900),
    }
}

fn text(parts: &[PartAccount<'_>]) -> String {
    header(parts).map(|value| value.to_str().unwrap().to_string()).unwrap_or_default()
}

#[test]
fn the_example_of_the_documentation() {
    let parts = [
        part("cart", "cart", PartState::Failed(Kind::Timeout)),
        part("recommend", "recommend", PartState::Stale),
        part("media", "media", PartState::Items { failed: 2, asked: 20 }),
        part("rank", "rank", PartState::Ok),
    ];
    assert_eq!(text(&parts), r#"cart=timeout;ms=400, recommend=stale;age=412, media="2/20 failed""#);
    let expected = r#"{"cart":{"outcome":"timeout","ms":400},"recommend":{"outcome":"stale","age":412},"media":{"outcome":"2/20 failed","failed":2,"asked":20}}"#;
    assert_eq!(String::from_utf8(json(&parts)).unwrap(), expected);
}

#[test]
fn every_other_state_names_its_reason() {
    let parts = [
        part("cartItems", "cartitems", PartState::Fallback(Kind::TooLarge)),
        part("prices", "prices", PartState::Skipped("$activity.\"id\"".to_string())),
        part("odd", "odd", PartState::Skipped("$é".to_string())),
    ];
    let expected = r#"cartitems=fallback;name="cartItems";kind=too_large;ms=400, prices=skipped;missing="$activity.\"id\"", odd=skipped"#;
    assert_eq!(text(&parts), expected);
    let expected = r#"{"cartItems":{"outcome":"fallback","kind":"too_large","ms":400},"prices":{"outcome":"skipped","missing":"$activity.\"id\""},"odd":{"outcome":"skipped","missing":"$é"}}"#;
    assert_eq!(String::from_utf8(json(&parts)).unwrap(), expected);
}

#[test]
fn a_complete_reply_has_no_account() {
    let parts = [
        part("a", "a", PartState::Ok),
        part("b", "b", PartState::Items { failed: 0, asked: 3 }),
    ];
    assert_eq!(header(&parts), None);
    assert_eq!(header(&[]), None);
    assert_eq!(json(&parts), b"{}");
}

#[test]
fn outcomes_have_states() {
    let failed = || CallError::new(Kind::Reset, "x");
    let cases = [
        (Outcome::Ok(1), PartState::Ok),
        (Outcome::Skipped(None), PartState::Ok),
        (Outcome::Stale(1, Duration::ZERO), PartState::Stale),
        (Outcome::Fallback(1, failed()), PartState::Fallback(Kind::Reset)),
        (Outcome::Skipped(Some("$a".to_string())), PartState::Skipped("$a".to_string())),
        (Outcome::Failed(failed()), PartState::Failed(Kind::Reset)),
    ];
    for (outcome, expected) in cases {
        assert_eq!(PartState::of(&outcome), expected);
    }
}

#[test]
fn what_does_not_fit_into_the_header_is_counted_and_not_called_complete() {
    let names: Vec<String> = (0..500).map(|number| format!("call_number_{number}")).collect();
    let parts: Vec<PartAccount<'_>> = names
        .iter()
        .map(|name| PartAccount {
            key: name,
            name,
            state: PartState::Failed(Kind::Limit),
            ms: 1,
            age: Duration::ZERO,
        })
        .collect();
    let text = text(&parts);
    assert!(text.len() < HEADER_MAX + 200, "{}", text.len());
    let members = parse(&text).unwrap();
    let (last, shown) = members.split_last().unwrap();
    assert_eq!(
        (last.key.as_str(), last.item.clone()),
        ("*", Item::Text(format!("{} more", 500 - shown.len())))
    );
    assert!(shown.len() > 50);
}

#[derive(Clone, Debug, PartialEq)]
enum Item {
    Token(String),
    Text(String),
    Integer(i64),
}

#[derive(Debug)]
struct Member {
    key: String,
    item: Item,
    parameters: Vec<(String, Item)>,
}

/// Parses a dictionary of items after RFC 9651, 4.2.2, as far as accounts need it: tokens, strings, integers and their parameters.
fn parse(text: &str) -> Option<Vec<Member>> {
    let mut rest = text;
    let mut members: Vec<Member> = Vec::new();
    loop {
        let (key, after) = parse_key(rest)?;
        let (item, after) = parse_item(after.strip_prefix('=')?)?;
        rest = after;
        let mut parameters = Vec::new();
        while let Some(after) = rest.strip_prefix(';') {
            let (key, after) = parse_key(after.trim_start_matches(' '))?;
            let (value, after) = parse_item(after.strip_prefix('=')?)?;
            parameters.push((key, value));
            rest = after;
        }
        if members.iter().any(|member| member.key == key) {
            return None;
        }
        members.push(Member { key, item, parameters });
        rest = rest.trim_start_matches([' ', '\t']);
        if rest.is_empty() {
            return Some(members);
        }
        rest = rest.strip_prefix(',')?.trim_start_matches([' ', '\t']);
    }
}

fn parse_key(text: &str) -> Option<(String, &str)> {
    let first = |c: char| c.is_ascii_lowercase() || c == '*';
    let other = |c: char| first(c) || c.is_ascii_digit() || matches!(c, '_' | '-' | '.');
    text.starts_with(first).then_some(())?;
    let end = text.find(|c| !other(c)).unwrap_or(text.len());
    Some((text[..end].to_string(), &text[end..]))
}

fn parse_item(text: &str) -> Option<(Item, &str)> {
    let first = text.chars().next()?;
    if first == '"' {
        let mut value = String::new();
        let mut characters = text[1..].char_indices();
        loop {
            match characters.next()? {
                (at, '"') => return Some((Item::Text(value), &text[at + 2..])),
                (_, '\\') => value.push(characters.next().map(|(_, c)| c).filter(|c| matches!(c, '"' | '\\'))?),
                (_, c) if (' '..='~').contains(&c) => value.push(c),
                _ => return None,
            }
        }
    }
    if first.is_ascii_digit() {
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        return (end <= 15).then_some((Item::Integer(text[..end].parse().ok()?), &text[end..]));
    }
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:/".contains(c);
    (first.is_ascii_alphabetic() || first == '*').then_some(())?;
    let end = text.find(|c| !token(c)).unwrap_or(text.len());
    Some((Item::Token(text[..end].to_string()), &text[end..]))
}

fn any_state() -> impl Strategy<Value = PartState> {
    let kind = || prop::sample::select(Kind::ALL.to_vec());
    prop_oneof![
        Just(PartState::Ok),
        Just(PartState::Stale),
        kind().prop_map(PartState::Fallback),
        kind().prop_map(PartState::Failed),
        any::<String>().prop_map(PartState::Skipped),
        "[ab\\\\\" ;,=]{1,6}".prop_map(PartState::Skipped),
        (any::<u64>(), any::<u64>()).prop_map(|(failed, asked)| PartState::Items { failed, asked }),
    ]
}

proptest! {
    #[test]
    fn the_header_is_a_structured_field_that_names_each_incomplete_part(
        parts in prop::collection::btree_map("[a-z][a-z0-9_]{0,8}", (any_state(), any::<u64>(), any::<u64>(), any::<bool>()), 0..8),
    ) {
        let names: Vec<String> = parts.iter().map(|(key, (.., upper))| if *upper { key.to_uppercase() } else { key.clone() }).collect();
        let accounts: Vec<PartAccount<'_>> = parts
            .iter()
            .zip(&names)
            .map(|((key, (state, ms, age, _)), name)| {
                PartAccount { key, name, state: state.clone(), ms: *ms, age: Duration::from_secs(*age) }
            })
            .collect();
        let incomplete: Vec<&PartAccount<'_>> = accounts.iter().filter(|part| !part.state.is_complete()).collect();
        let members = header(&accounts).map_or_else(Vec::new, |value| parse(value.to_str().unwrap()).expect("a dictionary"));
        prop_assert_eq!(members.len(), incomplete.len());
        for (member, part) in members.iter().zip(&incomplete) {
            prop_assert_eq!(&member.key, part.key);
            let name = member.parameters.iter().find(|(key, _)| key == "name").map(|(_, value)| value.clone());
            prop_assert_eq!(name, (part.name != part.key).then(|| Item::Text(part.name.to_string())));
            let age = member.parameters.iter().find(|(key, _)| key == "age").map(|(_, value)| value.clone());
            let expected = (part.state == PartState::Stale).then(|| Item::Integer(integer(part.age.as_secs()) as i64));
            prop_assert_eq!(age, expected);
            let missing = member.parameters.iter().find(|(key, _)| key == "missing").map(|(_, value)| value.clone());
            let expected = match &part.state {
                PartState::Skipped(reference) if reference.bytes().all(|byte| (0x20..0x7f).contains(&byte)) => Some(Item::Text(reference.clone())),
                _ => None,
            };
            prop_assert_eq!(missing, expected);
            match &part.state {
                PartState::Items { failed, asked } => prop_assert_eq!(&member.item, &Item::Text(format!("{failed}/{asked} failed"))),
                state => prop_assert_eq!(&member.item, &Item::Token(state.word().to_string())),
            }
        }
        let tree: serde_json::Value = serde_json::from_slice(&json(&accounts)).unwrap();
        prop_assert_eq!(tree.as_object().unwrap().len(), incomplete.len());
    }
}
