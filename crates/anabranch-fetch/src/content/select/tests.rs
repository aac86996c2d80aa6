use super::*;
use proptest::prelude::*;

fn compile(select: &[(&str, &str)]) -> Result<Compiled, FetchError> {
    Compiled::extract(&ExtractOptions {
        select: select
            .iter()
            .map(|(name, selector)| (name.to_string(), selector.to_string()))
            .collect(),
        jq: None,
    })
}

fn data(media_type: &str, text: &str, select: &[(&str, &str)]) -> Result<String, String> {
    let document = Document::new(Some(media_type), text);
    compile(select).unwrap().data(&document).map(|data| data.get().to_string())
}

fn html(text: &str, selector: &str) -> String {
    let data = data("text/html", text, &[("x[]", selector)]).unwrap();
    data.strip_prefix("{\"x\":").unwrap().strip_suffix('}').unwrap().to_string()
}

fn json(text: &str, selector: &str) -> String {
    let data = data("application/json", text, &[("x", selector)]).unwrap();
    data.strip_prefix("{\"x\":").unwrap().strip_suffix('}').unwrap().to_string()
}

#[test]
fn a_css_selector_takes_the_text_of_the_first_match_and_a_list_takes_all() {
    let page = "<h1> One\n <b>two</b></h1><h1>three</h1>";
    let select = [
        ("title", "css:h1"),
        ("titles[]", "css:h1"),
        ("none", "css:h2"),
        ("nones[]", "css:h2"),
    ];
    let expected = r#"{"title":"One two","titles":["One two","three"],"none":null,"nones":[]}"#;
    assert_eq!(data("text/html", page, &select).unwrap(), expected);
}

#[test]
fn text_is_what_a_reader_would_see() {
    assert_eq!(
        html("<div><p>a</p><p>b<br>c</p>d<script>no</script><style>no</style></div>", "css:div"),
        r#"["a b c d"]"#
    );
    assert_eq!(html("<p>a<b>b</b>c &amp; \u{a0}d</p>", "css:p"), r#"["abc & d"]"#);
    assert_eq!(html("<pre>\n a\n  b </pre>", "css:pre"), r#"["a\n  b"]"#);
    assert_eq!(
        html("<script type='application/ld+json'> {\"a\": 1} </script>", "css:script"),
        r#"["{\"a\": 1}"]"#
    );
}

#[test]
fn an_attribute_is_what_stands_behind_the_last_at_sign() {
    let page = r#"<a href="mailto:a@b" data-x=1>m</a><a href=/y>y</a><a>none</a>"#;
    assert_eq!(html(page, "css:a@href"), r#"["mailto:a@b","/y"]"#);
    assert_eq!(html(page, r#"css:a[href*="a@b"]"#), r#"["m"]"#);
    assert_eq!(html(page, r#"css:a[href*="a@b"]@data-X"#), r#"["1"]"#);
    assert_eq!(
        html("<svg viewBox='0 0 1 1'><use xlink:href='#u'/></svg>", "css:use@xlink:href"),
        r##"["#u"]"##
    );
    assert_eq!(html("<svg viewBox='0 0 1 1'></svg>", "css:svg@viewBox"), r#"["0 0 1 1"]"#);
}

#[test]
fn a_selector_may_be_anything_that_css_has_for_elements() {
    let page = "<ul><li class=a>1<li>2<li class='a b'>3</ul><p>4";
    assert_eq!(html(page, "css:ul > li.a:not(.b), p"), r#"["1","4"]"#);
    assert_eq!(html(page, "css:li:nth-child(2)"), r#"["2"]"#);
    assert_eq!(html(page, "css:ul:has(.b)"), r#"["1 2 3"]"#);
}

#[test]
fn a_json_path_gives_what_stands_there_digit_by_digit() {
    let text = r#"{"a": {"b": [1, 12345678901234567890123, 1.50, {"c": "x\u0041 ,y"}]}, "a-b": null, "a": {"b": [7, 8, 9]}}"#;
    assert_eq!(json(text, "json:$.a.b[0]"), "7");
    assert_eq!(json(text, "json:$['a-b']"), "null");
    assert_eq!(json(text, "json:$.nothing.below"), "null");
    let text = r#"{"b": [1, 12345678901234567890123, 1.50, {"c": "x\u0041 ,y" }], "s": "\" [1, 2]"}"#;
    assert_eq!(json(text, "json:$.b"), r#"[1,12345678901234567890123,1.50,{"c":"x\u0041 ,y"}]"#);
    assert_eq!(json(text, "json:$.s"), r#""\" [1, 2]""#);
    assert_eq!(json(text, "json:$.b[-1].c"), r#""x\u0041 ,y""#);
    assert_eq!(json(text, "json:$.b[9]"), "null");
    assert_eq!(json("3", "json:$"), "3");
}

#[test]
fn a_json_path_that_may_name_many_places_gives_a_list() {
    let text = r#"{"items":[{"p":1,"q":{"p":2}},{"p":3},{}],"p":4}"#;
    assert_eq!(json(text, "json:$.items[*].p"), "[1,3]");
    assert_eq!(json(text, "json:$..p"), "[4,1,2,3]");
    assert_eq!(json(text, "json:$.items[5:]"), "[]");
    assert_eq!(json(text, "json:$.items[0]['p', \"q\"]"), r#"[1,{"p":2}]"#);
    assert_eq!(json(text, "json:$.items.*.p"), "[1,3]");
}

/// The table of RFC 9535, section 2.3.4.3.
#[test]
fn slices_are_those_of_the_standard() {
    let text = r#"["a","b","c","d","e","f","g"]"#;
    for (slice, expected) in [
        ("1:3", r#"["b","c"]"#),
        ("5:", r#"["f","g"]"#),
        ("1:5:2", r#"["b","d"]"#),
        ("5:1:-2", r#"["f","d"]"#),
        ("::-1", r#"["g","f","e","d","c","b","a"]"#),
        ("-2:", r#"["f","g"]"#),
        ("-99:2", r#"["a","b"]"#),
        ("::0", "[]"),
        ("3:1", "[]"),
        ("0:99:-1", "[]"),
    ] {
        assert_eq!(json(text, &format!("json:$[{slice}]")), expected, "{slice}");
    }
}

#[test]
fn what_cannot_be_read_is_said_before_the_run() {
    for (selector, expected) in [
        ("h1", "css:"),
        ("css:h1[", "CSS"),
        ("css:", "CSS"),
        ("css:@href", "CSS"),
        ("css:a::before", "CSS"),
        ("json:a.b", "begins with `$`"),
        ("json:$.", "a name"),
        ("json:$.a-b", "['a-b']"),
        ("json:$[?@.a>1]", "--jq"),
        ("json:$[1", "`,` or `]`"),
        ("json:$['a", "closing quote"),
        ("json:$[99999999999999999999]", "a number"),
    ] {
        let error = compile(&[("x", selector)]).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains(selector), "{selector}: {error}");
    }
    assert!(compile(&[("x", "css:a"), ("x[]", "css:b")]).is_err());
    assert!(compile(&[("", "css:a")]).is_err());
}

#[test]
fn css_finds_nothing_in_json_and_json_fails_on_html() {
    assert_eq!(data("application/json", "{}", &[("x", "css:a")]).unwrap(), r#"{"x":null}"#);
    assert!(data("text/html", "<a>", &[("x", "json:$.a")]).unwrap_err().contains("no JSON"));
}

#[test]
fn too_many_values_and_too_much_text_are_an_error_and_not_cut() {
    let many = "<i>x</i>".repeat(VALUES_MAX + 1);
    assert!(data("text/html", &many, &[("x[]", "css:i")]).unwrap_err().contains("values"));
    assert_eq!(data("text/html", &many, &[("x", "css:i")]).unwrap(), r#"{"x":"x"}"#);
    let nested = format!("{}{}", "<div>".repeat(400), "x".repeat(100_000));
    assert!(data("text/html", &nested, &[("x[]", "css:div")]).unwrap_err().contains("MiB"));
}

#[test]
fn a_selector_that_takes_too_long_is_given_up() {
    // Each of the elements looks at all before it.
    let page = "<i></i>".repeat(60_000);
    let mut document = Document::new(Some("text/html"), &page);
    document.html().unwrap();
    document.patience = Patience::of(std::time::Duration::from_millis(100));
    let error = compile(&[("x", "css:b ~ i, u ~ i")]).unwrap().data(&document).unwrap_err();
    assert!(error.contains("too long"), "{error}");
}

#[test]
fn nesting_does_not_need_stack_and_reading_it_again_and_again_ends() {
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(data("application/json", &deep, &[("x", "json:$[1]")]).unwrap(), r#"{"x":null}"#);
    assert!(
        data("application/json", &deep, &[("x", "json:$..a")])
            .unwrap_err()
            .contains("nested")
    );
    let wide = format!("[{}0]", "[0,0,0,0],".repeat(20_000));
    assert!(data("application/json", &wide, &[("x", "json:$..*..*..*..*")]).is_ok());
}

#[test]
fn following_takes_href_or_src_or_what_is_said() {
    let page = "<a href=1>x</a><img src=2 srcset='3 1x, 4 2x'><p>5</p>";
    let follow = |selectors: &[&str]| {
        let options = CrawlOptions {
            follow: selectors.iter().map(|text| text.to_string()).collect(),
            ..CrawlOptions::default()
        };
        let mut found = Vec::new();
        let document = Document::new(Some("text/html"), page);
        let compiled = Compiled::follow(&options).unwrap();
        compiled
            .each_link(&document, &mut |text| {
                found.push(text.to_string());
                true
            })
            .unwrap();
        found
    };
    assert_eq!(follow(&["css:a, img, p"]), ["1", "2"]);
    assert_eq!(follow(&["css:img@srcset", "css:a@href"]), ["3", "4", "1"]);
}

proptest! {
    #[test]
    fn no_selector_makes_it_panic(selector in "(css|json):(\\$|\\.|\\*|\\[|\\]|'|\"|-?[0-9]{0,3}|:|,|@|[a-z]{1,3}|\\\\|[>+~ ()#?]|\\PC){0,14}") {
        if let Ok(compiled) = compile(&[("x", &selector)]) {
            for (media_type, text) in [("text/html", "<a b=c>d<a>"), ("application/json", r#"{"a":[1,{"b":[[],2]}],"c":"d"}"#)] {
                let document = Document::new(Some(media_type), text);
                let _ = compiled.data(&document);
            }
        }
    }

    #[test]
    fn no_json_makes_a_path_panic(text in "([\\[\\]{}:,\"\\\\ ]|[0-9]{1,3}|true|\"[a-c]\":?){0,30}") {
        let compiled = compile(&[("a", "json:$..*"), ("b", "json:$[::-2]"), ("c", "json:$.a[0]")]).unwrap();
        let _ = compiled.data(&Document::new(Some("application/json"), &text));
    }

    #[test]
    fn compact_json_is_the_same_json(value in prop::collection::vec("\\PC{0,6}|[\"\\\\ \n]{0,4}", 0..5)) {
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        prop_assert_eq!(json::compact(&pretty), serde_json::to_string(&value).unwrap());
    }
}
