//! What was typed: a config as it stands in the file, each value with its place. Nothing is resolved here.

use std::path::PathBuf;
use std::time::Duration;

use super::yaml::{Node, Span, Spanned};

/// A whole file.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `listen:` where the gateway answers; `127.0.0.1:8080` unless said.
    pub listen: Option<Spanned<String>>,
    /// `health:` where `/livez` and `/readyz` answer; off when absent.
    pub health: Option<Spanned<String>>,
    /// `admin:` the unix socket on which it takes orders; off when absent.
    pub admin: Option<Spanned<String>>,
    /// `credentials:` names of headers that carry credentials, beside Authorization, Proxy-Authorization and Cookie.
    pub credentials: Vec<Spanned<String>>,
    /// `slash: ignore` makes `/x/` the same as `/x`.
    pub slash: Option<Spanned<SlashConfig>>,
    /// `max_calls:` calls one request may start, at most; 1,000 unless said.
    pub max_calls: Option<Spanned<u32>>,
    /// `cache_size:` what the kept answers of all calls may take together, in bytes; 64 MiB unless said.
    pub cache_size: Option<Spanned<u64>>,
    /// `defaults:` for every call, unless its source or the call says otherwise.
    pub defaults: CallSettings,
    /// `sources:` in the order written.
    pub sources: Vec<SourceConfig>,
    /// `routes:` in the order written.
    pub routes: Vec<RouteConfig>,
}

/// What `slash:` may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlashConfig {
    /// `/x/` is not `/x`.
    Strict,
    /// `/x/` is `/x`.
    Ignore,
}

/// Settings that a call, its source and `defaults` share; the nearest wins.
#[derive(Clone, Debug, Default)]
pub struct CallSettings {
    /// `timeout:` of one attempt.
    pub timeout: Option<Spanned<Duration>>,
    /// `retry:` attempts after the first, for idempotent calls.
    pub retry: Option<Spanned<u32>>,
    /// `max_body:` the largest body of an answer, decoded, in bytes.
    pub max_body: Option<Spanned<u64>>,
    /// `connect_timeout:` of the connection and its TLS handshake.
    pub connect_timeout: Option<Spanned<Duration>>,
    /// `first_byte:` limit from sending to the head of the answer.
    pub first_byte: Option<Spanned<Duration>>,
    /// `body_idle:` limit between two pieces of the body.
    pub body_idle: Option<Spanned<Duration>>,
    /// `cache:` how long an answer is fresh; 0 turns an inherited one off.
    pub cache: Option<Spanned<CacheConfig>>,
    /// `stale:` how long after that it may stand in; 0 turns an inherited one off.
    pub stale: Option<Spanned<Duration>>,
    /// `vary:` headers let in that kept answers depend on.
    pub vary: Option<Vec<Spanned<String>>>,
}

/// What `cache:` may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheConfig {
    /// For so long, whatever the source says.
    For(Duration),
    /// `http`: for as long as the source says (RFC 9111).
    Http,
}

/// One entry of `sources:`.
#[derive(Clone, Debug)]
pub struct SourceConfig {
    /// Its name.
    pub name: Spanned<String>,
    /// `url:` one endpoint or several; empty for a database.
    pub url: Vec<Spanned<String>>,
    /// `postgres:` the URL of a database.
    pub postgres: Option<Spanned<String>>,
    /// `redis:` the URL of a Redis or Valkey server.
    pub redis: Option<Spanned<String>>,
    /// `run:` and what goes with it; None where the source is no program.
    pub worker: Option<WorkerConfig>,
    /// `allow:` commands of Redis that may be sent beside the safe ones.
    pub allow: Vec<Spanned<String>>,
    /// `in_flight:` attempts at once, over all requests.
    pub in_flight: Option<Spanned<u32>>,
    /// `queue:` calls that may wait for a place in flight; as many as `in_flight` unless said.
    pub queue: Option<Spanned<u32>>,
    /// `queue_wait:` the longest wait for a place; 250 ms unless said.
    pub queue_wait: Option<Spanned<Duration>>,
    /// `rate:` attempts a second.
    pub rate: Option<Spanned<f64>>,
    /// `pool:` idle connections kept per endpoint and core; of a database, its sessions.
    pub pool: Option<Spanned<u32>>,
    /// `pass:` credentials of the client that go to this source.
    pub pass: Vec<Spanned<String>>,
    /// `headers:` sent with every call.
    pub headers: Vec<(Spanned<String>, Spanned<String>)>,
    /// `http:` `auto`, `1.1` or `2`.
    pub http: Option<Spanned<HttpConfig>>,
    /// `wire:` `own` or `hyper`.
    pub wire: Option<Spanned<WireConfig>>,
    /// `tls:` roots, client certificate, server name.
    pub tls: Option<TlsConfig>,
    /// Settings for the calls of this source.
    pub settings: CallSettings,
}

/// How a source is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By HTTP.
    Http,
    /// By statements.
    Sql,
    /// By commands.
    Redis,
    /// By jobs.
    Run,
}

impl SourceConfig {
    /// Tells how it is asked.
    pub fn way(&self) -> Way {
        match (&self.postgres, &self.redis, &self.worker) {
            (Some(_), ..) => Way::Sql,
            (_, Some(_), _) => Way::Redis,
            (.., Some(_)) => Way::Run,
            _ => Way::Http,
        }
    }
}

/// `run: [python3, score.py]` of a source, and the keys that have a meaning only beside it.
#[derive(Clone)]
pub struct WorkerConfig {
    /// The program and its arguments; empty where they are a fault.
    pub command: Vec<Spanned<String>>,
    /// Where it runs; None where there is no disk.
    pub folder: Option<PathBuf>,
    /// `count:` processes; 1 unless said.
    pub count: Option<Spanned<u32>>,
    /// `memory:` of each process, in bytes.
    pub memory: Option<Spanned<u64>>,
    /// `env:` its whole environment.
    pub environment: Vec<(Spanned<String>, Spanned<String>)>,
    /// `start:` limit up to its first line; 5 s unless said.
    pub start: Option<Spanned<Duration>>,
    /// `recycle:` jobs after which a process is replaced; 1,000 unless said.
    pub recycle: Option<Spanned<u32>>,
}

/// Shows the names of the environment and not its values, which are secrets more often than not.
impl std::fmt::Debug for WorkerConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.environment.iter().map(|(name, _)| name.value.as_str()).collect();
        f.debug_struct("WorkerConfig")
            .field("command", &self.command)
            .field("environment", &names)
            .finish_non_exhaustive()
    }
}

/// What `http:` may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpConfig {
    /// HTTP/2 where TLS negotiates it, else HTTP/1.1.
    Auto,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only, also without TLS.
    Http2,
}

/// What `wire:` may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireConfig {
    /// HTTP/1.1 is spoken by our own code.
    Own,
    /// HTTP/1.1 is spoken by hyper.
    Hyper,
}

/// `tls: { ca: $file.ca.pem, cert: $file.cert.pem, key: $file.key.pem, server_name: host }`; contents, not paths, stand here.
#[derive(Clone, Debug, Default)]
pub struct TlsConfig {
    /// PEM of the roots to trust instead of the system's.
    pub ca: Option<Spanned<String>>,
    /// PEM chain of the client certificate.
    pub cert: Option<Spanned<String>>,
    /// PEM key of the client certificate.
    pub key: Option<Spanned<String>>,
    /// The name to ask for and to check.
    pub server_name: Option<Spanned<String>>,
}

/// One entry of `routes:`.
#[derive(Clone, Debug)]
pub struct RouteConfig {
    /// `GET` of `GET /activity/{id:int}`, upper case, checked.
    pub method: Spanned<String>,
    /// `/activity/{id:int}` as written.
    pub path: Spanned<String>,
    /// `query:` the parameters let in; the value in any of its short or long forms, not yet understood.
    pub query: Vec<(Spanned<String>, Node)>,
    /// `headers:` let in.
    pub headers: Vec<Spanned<String>>,
    /// `body: { max: 8M }`.
    pub body_max: Option<Spanned<u64>>,
    /// `body: { schema: ... }`: the form that it must have.
    pub body_schema: Option<SchemaConfig>,
    /// `deadline:` of the whole reply.
    pub deadline: Option<Spanned<Duration>>,
    /// `grace:` wait for the rest after the last `need`.
    pub grace: Option<Spanned<Duration>>,
    /// `need:` the parts without which the reply fails; None when the key is absent.
    pub need: Option<Vec<Spanned<String>>>,
    /// `proxy:` in place of calls.
    pub proxy: Option<ProxyConfig>,
    /// `calls:` in the order written.
    pub calls: Vec<CallConfig>,
    /// `reply:`.
    pub reply: Option<Spanned<ReplyConfig>>,
    /// `status: { from: activity }`.
    pub status_from: Option<Spanned<String>>,
    /// `errors: pass`: the failed needed call's body becomes the reply's.
    pub errors_pass: Option<Spanned<bool>>,
    /// `account: body` adds `_parts`; `header` is the default.
    pub account_body: bool,
    /// `timing:` adds Server-Timing.
    pub timing: Option<bool>,
}

/// `proxy:` of a route.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// Source and path: `media /files/$path`; without a path that of the route.
    pub target: Spanned<String>,
    /// `query: pass`: the query goes on as it came.
    pub pass_query: bool,
    /// `headers:` of the request; values are templates.
    pub headers: Vec<(Spanned<String>, Spanned<String>)>,
    /// `forward:` response headers that would not go to the client.
    pub forward: Vec<Spanned<String>>,
    /// Settings of this proxy.
    pub settings: CallSettings,
}

/// A JSON Schema as written, not yet understood.
#[derive(Clone, Debug)]
pub struct SchemaConfig {
    /// The schema.
    pub node: Node,
    /// Where it is named, if it stands in a text of its own: places in `node` are then places in that text.
    pub outside: Option<SchemaText>,
}

impl SchemaConfig {
    /// Its place in the config.
    pub fn place(&self) -> Span {
        self.outside.as_ref().map_or(self.node.span, |outside| outside.place)
    }
}

/// The text that a schema of its own was read of.
#[derive(Clone, Debug)]
pub struct SchemaText {
    /// Where the config names it.
    pub place: Span,
    /// All of it.
    pub text: String,
}

/// `reply:` in the forms that are built.
#[derive(Clone, Debug)]
pub enum ReplyConfig {
    /// `{ only: x }`.
    Only(Spanned<String>),
    /// `{ value: ... }`, which may hold references.
    Value(Node),
    /// `{ merge: [a, b] }`.
    Merge(Vec<Spanned<String>>),
    /// `{ jq: ... }`.
    Jq(Spanned<String>),
}

/// One entry of `calls:`.
#[derive(Clone, Debug)]
pub struct CallConfig {
    /// Its name.
    pub name: Spanned<String>,
    /// What it does.
    pub action: ActionConfig,
    /// `query:` pairs added to the target's.
    pub query: Vec<(Spanned<String>, Node)>,
    /// `headers:` of the request; values are templates.
    pub headers: Vec<(Spanned<String>, Spanned<String>)>,
    /// `body:` JSON, may hold references.
    pub body: Option<Node>,
    /// `when:`.
    pub when: Option<Spanned<String>>,
    /// `after:` entries as written: `x` or `x ok`.
    pub after: Vec<Spanned<String>>,
    /// `ok:` what counts as success.
    pub ok: Option<Node>,
    /// `else:` value or call; `Some(Null)` is a value.
    pub otherwise: Option<Node>,
    /// `idempotent:`.
    pub idempotent: Option<Spanned<bool>>,
    /// `forward:` response headers of the source that go to the client.
    pub forward: Vec<Spanned<String>>,
    /// `pick:` keys of the answer that stay; None when the key is absent.
    pub pick: Option<Vec<Spanned<String>>>,
    /// `drop:` keys of the answer that go.
    pub drop: Vec<Spanned<String>>,
    /// `rename:` old keys of the answer and new ones.
    pub rename: Vec<(Spanned<String>, Spanned<String>)>,
    /// `jq:` what becomes of the answer.
    pub jq: Option<Spanned<String>>,
    /// `each:` or `batch:`, and what goes with them; None for a call that is made once.
    pub list: Option<ListConfig>,
    /// Settings of this call.
    pub settings: CallSettings,
}

/// A call that is made for the items of a list.
#[derive(Clone, Debug)]
pub struct ListConfig {
    /// One request per item, or one for many.
    pub kind: ListKindConfig,
    /// The list as written: `$posts[]`, `$posts[].author_id`.
    pub over: Spanned<String>,
    /// `into:` the place in the list that the answers are added to: `posts[].author`.
    pub into: Option<Spanned<String>>,
    /// `width:` requests at once.
    pub width: Option<Spanned<u32>>,
    /// `max_items:` items that the list may have.
    pub max_items: Option<Spanned<u32>>,
}

/// How the items of a list are asked for.
#[derive(Clone, Debug)]
pub enum ListKindConfig {
    /// `each:` one request per item.
    Each,
    /// `batch:` one request for many keys.
    Batch {
        /// `match:` how the answers find their keys: `id`, `users[].id`, `key` or `order`.
        matching: Spanned<String>,
    },
}

/// What a call does.
#[derive(Clone, Debug)]
pub enum ActionConfig {
    /// An HTTP request; method in upper case, target as written: `shop /activities/$id?lang=$lang`.
    Http {
        /// GET unless said.
        method: Spanned<String>,
        /// Source, blank, path and query.
        target: Spanned<String>,
    },
    /// `sql: db` with `select:` or `exec:`.
    Sql {
        /// The name of the source.
        source: Spanned<String>,
        /// Which of the two.
        verb: Spanned<SqlVerb>,
        /// As written.
        statement: Spanned<String>,
        /// `one: true`, one row instead of a list of rows.
        one: Option<Spanned<bool>>,
    },
    /// `redis: hot SMEMBERS seen:$uid`, source and command as written.
    Redis(Spanned<String>),
    /// `run: score`, the name of the source; the job is the call's `body`.
    Run(Spanned<String>),
    /// `value:` computed of references.
    Value(Node),
}

/// What a statement is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SqlVerb {
    /// `select:` it reads, and may be sent twice.
    Select,
    /// `exec:` it may change something.
    Exec,
}
