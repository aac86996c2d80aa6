//! The keys of each kind of mapping: those that exist, and those that are planned, so that nobody takes a planned key for a typing error.

/// The keys of one kind of mapping.
pub(super) struct Keys {
    /// What the mapping is, for messages: `a call`.
    pub(super) of: &'static str,
    /// Keys that are read.
    pub(super) known: &'static [&'static str],
    /// Keys that a later version will read.
    pub(super) planned: &'static [&'static str],
}

/// The file.
pub(super) const FILE: Keys = Keys {
    of: "the file",
    known: &[
        "listen",
        "health",
        "admin",
        "credentials",
        "slash",
        "max_calls",
        "cache_size",
        "defaults",
        "sources",
        "routes",
    ],
    planned: &[],
};
/// `defaults:`.
pub(super) const DEFAULTS: Keys = Keys {
    of: "`defaults`",
    known: &[
        "timeout",
        "retry",
        "max_body",
        "connect_timeout",
        "first_byte",
        "body_idle",
        "cache",
        "stale",
        "vary",
    ],
    planned: &["breaker", "hedge"],
};
/// An entry of `sources:`.
pub(super) const SOURCE: Keys = Keys {
    of: "a source",
    known: &[
        "url",
        "postgres",
        "redis",
        "run",
        "count",
        "memory",
        "env",
        "start",
        "recycle",
        "in_flight",
        "queue",
        "queue_wait",
        "rate",
        "pool",
        "pass",
        "allow",
        "headers",
        "http",
        "wire",
        "tls",
        "timeout",
        "retry",
        "max_body",
        "connect_timeout",
        "first_byte",
        "body_idle",
        "cache",
        "stale",
        "vary",
    ],
    planned: &["breaker", "hedge"],
};
/// `tls:` of a source.
pub(super) const TLS: Keys = Keys {
    of: "`tls`",
    known: &["ca", "cert", "key", "server_name"],
    planned: &[],
};
/// An entry of `routes:`.
pub(super) const ROUTE: Keys = Keys {
    of: "a route",
    known: &[
        "query", "headers", "body", "deadline", "grace", "need", "calls", "reply", "status", "errors", "account", "timing", "proxy",
    ],
    planned: &["auth", "cache", "rate", "stream"],
};
/// `body:` of a route.
pub(super) const ROUTE_BODY: Keys = Keys {
    of: "`body` of a route",
    known: &["max", "schema"],
    planned: &[],
};
/// `proxy:` of a route, in its long form.
pub(super) const PROXY: Keys = Keys {
    of: "`proxy`",
    known: &[
        "to",
        "query",
        "headers",
        "forward",
        "cache",
        "stale",
        "retry",
        "max_body",
        "first_byte",
        "body_idle",
    ],
    planned: &[],
};
/// `status:` of a route.
pub(super) const STATUS: Keys = Keys {
    of: "`status`",
    known: &["from"],
    planned: &[],
};
/// `reply:` of a route.
pub(super) const REPLY: Keys = Keys {
    of: "`reply`",
    known: &["only", "value", "merge", "jq"],
    planned: &["deep"],
};
/// An entry of `calls:` in its long form.
pub(super) const CALL: Keys = Keys {
    of: "a call",
    known: &[
        "get",
        "head",
        "post",
        "put",
        "patch",
        "delete",
        "sql",
        "select",
        "exec",
        "one",
        "redis",
        "run",
        "value",
        "query",
        "headers",
        "body",
        "when",
        "after",
        "ok",
        "else",
        "idempotent",
        "forward",
        "pick",
        "drop",
        "rename",
        "jq",
        "each",
        "batch",
        "match",
        "into",
        "width",
        "max_items",
        "timeout",
        "retry",
        "max_body",
        "first_byte",
        "body_idle",
        "cache",
        "stale",
        "vary",
    ],
    planned: &["as", "group", "hedge"],
};

/// Keys of a call that say what it does; exactly one of them stands in it.
pub(super) const ACTIONS: &[&str] = &["get", "head", "post", "put", "patch", "delete", "sql", "redis", "run", "value"];
/// The planned ones.
pub(super) const ACTIONS_PLANNED: &[&str] = &["group"];
/// Keys that mean something only where a request is sent.
pub(super) const REQUEST_ONLY: &[&str] = &[
    "query",
    "headers",
    "body",
    "ok",
    "idempotent",
    "forward",
    "each",
    "batch",
    "match",
    "into",
    "width",
    "max_items",
    "timeout",
    "retry",
    "max_body",
    "first_byte",
    "body_idle",
    "cache",
    "stale",
    "vary",
];

/// Keys that mean something only where the request is HTTP.
pub(super) const HTTP_ONLY: &[&str] = &["query", "headers", "body", "ok", "forward", "first_byte", "body_idle", "vary"];
/// Keys of a call that mean nothing beside `run`.
pub(super) const CALL_NOT_RUN: &[&str] = &[
    "query",
    "headers",
    "ok",
    "forward",
    "retry",
    "first_byte",
    "body_idle",
    "cache",
    "stale",
    "vary",
];
/// Keys that stand beside `sql` alone.
pub(super) const SQL_ONLY: &[&str] = &["select", "exec", "one"];
/// Keys of a source that say how it is reached; exactly one of them stands in it.
pub(super) const REACHED: &[&str] = &["url", "postgres", "redis", "run"];
/// Keys of a source that mean nothing beside `url`.
pub(super) const NOT_URL: &[&str] = &["allow", "count", "memory", "env", "start", "recycle"];
/// Keys of a source that mean nothing beside `run`.
pub(super) const NOT_RUN: &[&str] = &[
    "in_flight",
    "rate",
    "pool",
    "allow",
    "headers",
    "http",
    "wire",
    "tls",
    "retry",
    "connect_timeout",
    "first_byte",
    "body_idle",
    "cache",
    "stale",
    "vary",
];
/// Keys of a source that mean nothing beside `postgres`.
pub(super) const NOT_POSTGRES: &[&str] = &[
    "in_flight",
    "rate",
    "allow",
    "count",
    "memory",
    "env",
    "start",
    "recycle",
    "headers",
    "http",
    "wire",
    "first_byte",
    "body_idle",
    "vary",
];
/// Keys of a source that mean nothing beside `redis`.
pub(super) const NOT_REDIS: &[&str] = &[
    "pool",
    "count",
    "memory",
    "env",
    "start",
    "recycle",
    "headers",
    "http",
    "wire",
    "first_byte",
    "body_idle",
    "vary",
];

/// All kinds of mapping, for the test of the reference page.
#[cfg(test)]
pub(super) const ALL: &[&Keys] = &[&FILE, &DEFAULTS, &SOURCE, &TLS, &ROUTE, &ROUTE_BODY, &PROXY, &STATUS, &REPLY, &CALL];

/// The other kinds of mapping, for the hint where a misplaced key belongs.
const PLACES: &[&Keys] = &[&FILE, &DEFAULTS, &SOURCE, &ROUTE, &CALL];

impl Keys {
    /// Whether a later version will read the key, here or in another kind of mapping.
    pub(super) fn plans(&self, key: &str) -> bool {
        let elsewhere = PLACES.iter().any(|place| place.planned.contains(&key)) && self.belongs_elsewhere(key).is_none();
        self.planned.contains(&key) || elsewhere
    }

    /// Where a key would be right that is unknown here: ``a source or a route``.
    pub(super) fn belongs_elsewhere(&self, key: &str) -> Option<String> {
        let places: Vec<&str> = PLACES
            .iter()
            .filter(|place| place.known.contains(&key))
            .map(|place| place.of)
            .collect();
        (!places.is_empty()).then(|| places.join(" or "))
    }
}
