//! Extensions of files: what a URL and a media type say of one.

use url::Url;

/// Whether this is one, without its dot: short, and not a number (`v1.2`).
pub(super) fn is_extension(text: &str) -> bool {
    (1..=8).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// With its dot, or nothing. The URL's own, unless the type knows better.
pub(super) fn extension(url: &Url, media_type: Option<&str>) -> String {
    let last = url.path().rsplit('/').next().unwrap_or_default();
    let own = match last.rsplit_once('.') {
        Some((stem, own)) if !stem.is_empty() && is_extension(own) => own,
        _ => "",
    };
    let media_type = media_type.unwrap_or_default().trim().to_ascii_lowercase();
    let usual = EXTENSIONS.iter().find(|(name, _)| *name == media_type).map(|(_, usual)| *usual);
    let extension = match usual {
        Some(usual) if usual.contains(&own.to_ascii_lowercase().as_str()) => own,
        Some(usual) => usual[0],
        // What is served as plain text or as bytes is often more than that: `.py`, `.iso`.
        None if own.is_empty() && media_type == "text/plain" => "txt",
        None => own,
    };
    if extension.is_empty() {
        String::new()
    } else {
        format!(".{extension}")
    }
}

/// Types that say what a file is, with their extensions, the usual one first.
const EXTENSIONS: [(&str, &[&str]); 38] = [
    ("text/html", &["html", "htm", "xhtml", "shtml"]),
    ("application/xhtml+xml", &["xhtml", "html", "htm"]),
    ("text/css", &["css"]),
    ("text/csv", &["csv"]),
    ("text/markdown", &["md", "markdown"]),
    ("text/calendar", &["ics"]),
    ("text/javascript", &["js", "mjs"]),
    ("application/javascript", &["js", "mjs"]),
    ("application/json", &["json", "map", "webmanifest"]),
    ("application/ld+json", &["jsonld", "json"]),
    ("application/x-ndjson", &["ndjson", "jsonl"]),
    ("text/xml", &["xml", "xsd", "xsl", "rss", "atom", "svg"]),
    ("application/xml", &["xml", "xsd", "xsl", "rss", "atom", "svg"]),
    ("application/rss+xml", &["rss", "xml"]),
    ("application/atom+xml", &["atom", "xml"]),
    ("application/yaml", &["yaml", "yml"]),
    ("application/pdf", &["pdf"]),
    ("application/epub+zip", &["epub"]),
    ("application/wasm", &["wasm"]),
    ("image/png", &["png"]),
    ("image/jpeg", &["jpg", "jpeg", "jpe"]),
    ("image/gif", &["gif"]),
    ("image/webp", &["webp"]),
    ("image/avif", &["avif"]),
    ("image/svg+xml", &["svg"]),
    ("image/bmp", &["bmp"]),
    ("image/tiff", &["tiff", "tif"]),
    ("image/x-icon", &["ico"]),
    ("image/vnd.microsoft.icon", &["ico"]),
    ("audio/mpeg", &["mp3"]),
    ("audio/ogg", &["ogg", "oga", "opus"]),
    ("audio/wav", &["wav"]),
    ("video/mp4", &["mp4", "m4v"]),
    ("video/webm", &["webm"]),
    ("font/woff", &["woff"]),
    ("font/woff2", &["woff2"]),
    ("font/ttf", &["ttf"]),
    ("font/otf", &["otf"]),
];
