use super::*;
use proptest::prelude::*;
use std::path::{Component, Path};

fn name(template: &str, url: &str, media_type: Option<&str>) -> String {
    named(template, url, "0123456789abcdef0123456789abcdef", media_type)
}

fn named(template: &str, url: &str, id: &str, media_type: Option<&str>) -> String {
    let url = Url::parse(url).unwrap();
    let parts = NameParts {
        url: &url,
        id: &JobId::given(id),
        media_type,
        seq: Some(7),
        depth: 2,
    };
    let path = render(&Template::new(template).unwrap(), &parts);
    path.to_str().unwrap().to_string()
}

#[test]
fn a_template_is_filled_from_what_is_known_of_the_job() {
    let url = "http://docs.test:8080/a/b/page.php?x=1&y=%20#f";
    let html = Some("text/html");
    let cases = [
        ("{host}/{id}{ext}", "docs.test+8080/0123456789abcdef0123456789abcdef.html"),
        ("{host}/{path}{ext}", "docs.test+8080/a/b/page.php.html"),
        ("{host}/{path}", "docs.test+8080/a/b/page.php"),
        ("{path}{query}{ext}", "a/b/page.php@x=1%26y=%20.html"),
        ("pages/{seq}-{depth}-{name}", "pages/7-2-page.php"),
        ("{{{name}}}", "{page.php}"),
        ("{name}-{id}", "page.php-0123456789abcdef0123456789abcdef"),
        ("{name}-{id}-{name}", "page.php-~0123456789abcdef0123456789abcdef~-page.php"),
    ];
    for (template, expected) in cases {
        assert_eq!(name(template, url, html), expected, "{template}");
    }
    assert_eq!(name("{path}{query}{ext}", "http://h.test/", html), "index.html");
    assert_eq!(name("{path}{ext}", "http://h.test/a/b/", None), "a/b/index");
}

#[test]
fn the_extension_is_the_urls_own_unless_the_type_knows_better() {
    let cases = [
        ("http://h.test/a.htm", Some("text/html"), "a.htm"),
        ("http://h.test/a", Some("text/html"), "a.html"),
        ("http://h.test/a.JPEG", Some("image/jpeg"), "a.JPEG"),
        ("http://h.test/a.png", Some("image/jpeg"), "a.png.jpg"),
        ("http://h.test/a.py", Some("text/plain"), "a.py"),
        ("http://h.test/a", Some("text/plain"), "a.txt"),
        ("http://h.test/a.tar.gz", Some("application/octet-stream"), "a.tar.gz"),
        ("http://h.test/a.iso", None, "a.iso"),
        ("http://h.test/v1.2", None, "v1.2"),
        ("http://h.test/.profile", None, "%2Eprofile"),
    ];
    for (url, media_type, expected) in cases {
        assert_eq!(name("{name}{ext}", url, media_type), expected, "{url} {media_type:?}");
    }
}

#[test]
fn nothing_in_a_url_leads_out_of_the_folder_or_into_ours() {
    let cases = [
        ("http://h.test/..%2f..%2fetc%2fpasswd", "..%2f..%2fetc%2fpasswd"),
        ("http://h.test/%2e%2e/%2e%2e/x", "x"),
        ("http://h.test/.part/x", "%2Epart/x"),
        ("http://h.test/a//b", "a/b"),
        ("http://h.test/a\\b", "a/b"),
        ("http://h.test/a:b|c*d", "a%3Ab%7Cc%2Ad"),
        ("http://h.test/con/NUL.txt/com1", "%63on/%4EUL.txt/%63om1"),
        ("http://h.test/a./b.", "a%2E/b%2E"),
        ("http://h.test/caf\u{e9}", "caf%C3%A9"),
        ("http://h.test/~me/x", "%7Eme/x"),
    ];
    for (url, expected) in cases {
        let expected = if expected.starts_with("..") {
            format!("%2E{}", &expected[1..])
        } else {
            expected.to_string()
        };
        assert_eq!(name("{path}", url, None), expected, "{url}");
    }
}

#[test]
fn what_is_too_long_is_cut_and_told_apart_by_a_hash() {
    let long = |end: &str| format!("http://h.test/{}{end}", "a".repeat(2_000));
    let (one, two) = (name("{name}", &long("1.html"), None), name("{name}", &long("2.html"), None));
    assert_ne!(one, two);
    assert_eq!(one.len(), SEGMENT_MAX);
    assert!(one.ends_with(".html") && one.contains('='), "{one}");

    let deep = |end: &str| format!("http://h.test/{}{end}", "folder/".repeat(500));
    let (one, two) = (name("{host}/{path}", &deep("x/z"), None), name("{host}/{path}", &deep("y/z"), None));
    assert_ne!(one, two);
    assert!(one.len() <= NAME_MAX && one.starts_with("h.test/=") && one.ends_with("/z"), "{one}");
}

#[test]
fn ids_of_the_user_are_told_apart_wherever_they_stand() {
    let same_start = |a: &str, b: &str| assert_ne!(a, b);
    let url = "http://h.test/";
    same_start(
        &named("{id}{ext}", url, "a.html", None),
        &named("{id}{ext}", url, "a", Some("text/html")),
    );
    same_start(&named("{id}", url, ".a", None), &named("{id}", url, "%2Ea", None));
    same_start(&named("{id}", url, "", None), &named("{id}", url, "_", None));
    same_start(&named("{id}", url, "a/b", None), &named("{id}", url, "a%2Fb", None));
    same_start(&named("{id}", url, "con", None), &named("{id}", url, "%63on", None));
    same_start(
        &named("{name}-{id}", "http://h.test/a-b", "c", None),
        &named("{name}-{id}", "http://h.test/a", "b-c", None),
    );
    assert_eq!(named("{id}{ext}", url, "order.7", Some("text/html")), "order.7.html");
}

#[test]
fn a_template_that_leads_elsewhere_is_refused() {
    for template in [
        "",
        "/a",
        "a/",
        "a//b",
        "../{id}",
        "a/../b",
        ".part/{id}",
        "{id}/.x",
        "{nope}",
        "{id",
        "a:b",
        "a\\b",
        "a\0",
        ".",
    ] {
        let error = Template::new(template).unwrap_err();
        assert!(matches!(error, FetchError::Usage(_)), "{template}");
    }
    assert!(Template::new("{host}/{id}{ext}").unwrap().has_id());
    assert!(!Template::new("{path}").unwrap().needs_answer());
}

fn check_inside(path: &str) {
    let path = Path::new(path);
    assert!(path.components().all(|part| matches!(part, Component::Normal(_))), "{path:?}");
    assert!(path.as_os_str().len() <= NAME_MAX, "{path:?}");
    for part in path.iter() {
        let part = part.to_str().unwrap();
        assert!(
            !part.starts_with('.') && !part.ends_with(['.', ' ']) && part.len() <= SEGMENT_MAX,
            "{path:?}"
        );
        assert!(
            part.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\:*?\"<>|".contains(&byte)),
            "{path:?}"
        );
    }
}

const TEMPLATES: [&str; 9] = [
    "{host}/{id}{ext}",
    "{id}",
    "{path}/{id}",
    "{id}{name}",
    "{name}{id}{ext}",
    "{path}{id}{query}",
    "{id}/{path}{query}{ext}",
    "x{seq}{id}{depth}",
    "{name}-{id}.bak",
];

fn any_id() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-f0-9]{32}",
        "[-._~%@a-cA-C/ ]{0,6}",
        "\\PC{0,8}",
        "[a-c.]{0,3}\\.(html|a)",
        "[a-z]{150,400}"
    ]
}

fn any_path() -> impl Strategy<Value = String> {
    prop_oneof![
        "[-._~%@a-c/]{0,12}",
        "(%2[eEfF]|\\.|/|\\\\|~|[a-f0-9]{32}|-){0,8}",
        "\\PC{0,12}",
        "([a-z]{1,9}/){0,400}",
        "(con|nul|COM1|lpt9)(\\.[a-z]{0,3})?"
    ]
}

proptest! {
    #[test]
    fn names_never_leave_the_folder(path in any_path(), id in any_id(), template in prop::sample::select(&TEMPLATES[..]), html in any::<bool>()) {
        let url = Url::parse("http://h.test/").unwrap().join(&path).unwrap_or_else(|_| Url::parse("http://h.test/").unwrap());
        check_inside(&named(template, url.as_str(), &id, html.then_some("text/html")));
        for template in ["{path}", "{path}{query}", "{name}{ext}", "{host}/{path}{ext}"] {
            check_inside(&named(template, url.as_str(), &id, html.then_some("text/html")));
        }
    }

    #[test]
    fn different_ids_never_have_one_name(
        (one, two) in (any_path(), any_path()),
        (a, b) in (any_id(), any_id()),
        template in prop::sample::select(&TEMPLATES[..]),
        html in any::<bool>(),
    ) {
        prop_assume!(a != b);
        let base = Url::parse("http://h.test/").unwrap();
        let url = |path: &str| base.join(path).unwrap_or_else(|_| base.clone());
        let first = named(template, url(&one).as_str(), &a, html.then_some("text/html"));
        let second = named(template, url(&two).as_str(), &b, None);
        prop_assert_ne!(first, second);
    }

    /// Ids and names that were made to look like each other.
    #[test]
    fn ids_are_told_apart_from_what_stands_beside_them(
        text in "[ab~.-]{2,8}",
        (i, j) in (0..9_usize, 0..9_usize),
        template in prop::sample::select(vec!["{id}{name}", "{name}{id}", "{name}-{id}", "{name}{id}{name}", "{name}{id}{ext}"]),
    ) {
        let (i, j) = (i.min(text.len()), j.min(text.len()));
        prop_assume!(i != j);
        let split = |at: usize| if template.starts_with("{id}") { (&text[at..], &text[..at]) } else { (&text[..at], &text[at..]) };
        let ((name_a, id_a), (name_b, id_b)) = (split(i), split(j));
        prop_assume!(id_a != id_b);
        let url = |name: &str| format!("http://h.test/x/{name}");
        prop_assert_ne!(named(template, &url(name_a), id_a, None), named(template, &url(name_b), id_b, None));
    }
}
