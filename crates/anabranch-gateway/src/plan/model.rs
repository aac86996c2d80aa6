//! What a config means: names are indices, templates are parsed, headers are built. Immutable; a request never parses or looks up.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anabranch::policy::Times;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};

use crate::schema::Schema;
use crate::transform::KeyEdit;
use crate::transform::jq::Jq;

use crate::config::yaml::Span;

/// The compiled form of a config. It has done no I/O and cannot fail while it runs.
#[derive(Debug)]
pub struct Plan {
    /// Where the gateway listens, `host:port`.
    pub listen: String,
    /// Where `/livez` and `/readyz` answer.
    pub health: Option<String>,
    /// The unix socket on which it takes orders.
    pub admin: Option<PathBuf>,
    /// Header names (lower case) that carry credentials.
    pub credentials: Vec<HeaderName>,
    /// Whether `/x/` is `/x`.
    pub ignore_slash: bool,
    /// Calls one request may start.
    pub max_calls: usize,
    /// What the kept answers of all calls may take together, in bytes.
    pub cache_size: u64,
    /// The sources; [`Action::source`] is an index.
    pub sources: Vec<SourcePlan>,
    /// The routes, in the order written.
    pub routes: Vec<RoutePlan>,
    /// Remarks that are no faults, for `check`.
    pub warnings: Vec<String>,
}

/// One source.
#[derive(Debug)]
pub struct SourcePlan {
    /// Its name.
    pub name: Arc<str>,
    /// What it is.
    pub kind: SourceKind,
    /// Its endpoints' URLs, checked; of a database or a program there are none here.
    pub urls: Vec<String>,
    /// Attempts at once; of a program, its processes.
    pub in_flight: usize,
    /// Calls that may wait for a place.
    pub queue: usize,
    /// The longest wait for a place.
    pub queue_wait: Duration,
    /// Attempts a second.
    pub rate: Option<f64>,
    /// Idle connections per endpoint and core; sessions of a Postgres database over all cores.
    pub pool: usize,
    /// Credentials that it is sent.
    pub pass: Vec<HeaderName>,
    /// Headers that it is always sent.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Protocol choice.
    pub http: anabranch::client::HttpVersion,
    /// Whose HTTP/1.1.
    pub wire: anabranch::client::Codec,
    /// TLS settings.
    pub tls: Option<anabranch::client::TlsSettings>,
    /// Limit of connecting, handshake included.
    pub connect_timeout: Duration,
}

/// What a source is.
#[derive(Clone, Debug)]
pub enum SourceKind {
    /// A service that is asked by HTTP.
    Http,
    /// A Postgres database.
    Postgres(DatabaseUrl),
    /// A Redis or Valkey server.
    Redis {
        /// Where it is.
        url: DatabaseUrl,
        /// Commands that may be sent beside the safe ones.
        allow: Vec<String>,
    },
    /// A program that does jobs.
    Run(WorkerPlan),
}

/// A program that does jobs, in processes of its own.
#[derive(Clone)]
pub struct WorkerPlan {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The whole environment of a process.
    pub environment: Vec<(String, String)>,
    /// Where it runs, and where a relative path of the program begins; None is where this process runs.
    pub folder: Option<PathBuf>,
    /// Processes, over all cores.
    pub count: usize,
    /// Address space of each, in bytes.
    pub memory: Option<u64>,
    /// Limit up to the first line of a process.
    pub start: Duration,
    /// Jobs after which a process is replaced.
    pub recycle: u64,
}

/// Without the environment, which may have secrets in it.
impl std::fmt::Debug for WorkerPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerPlan")
            .field("command", &self.command)
            .field("folder", &self.folder)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

/// The URL of a database. It has a password in it more often than not, so `Debug` shows nothing of it.
#[derive(Clone)]
pub struct DatabaseUrl(pub String);

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("..")
    }
}

/// One route.
#[derive(Debug)]
pub struct RoutePlan {
    /// Its method.
    pub method: Method,
    /// Its pattern as written, for messages: `/activity/{id:int}`.
    pub pattern: String,
    /// What stands between the slashes behind the first: `/` is one empty segment, `/x/` is `x` and an empty one.
    pub segments: Vec<Segment>,
    /// Path parameters in order, then query parameters; [`Root::Param`] is an index here.
    pub params: Vec<Param>,
    /// How many of `params` come from the path.
    pub path_params: usize,
    /// Headers let in, lower case.
    pub headers: Vec<HeaderName>,
    /// Whether any call refers to `$body` or it has a schema, so that it must be JSON.
    pub reads_body: bool,
    /// The form that the body must have.
    pub body_schema: Option<Arc<Schema>>,
    /// The largest request body, in bytes.
    pub body_max: u64,
    /// Of the whole reply.
    pub deadline: Duration,
    /// Wait for the rest after the last need.
    pub grace: Option<Duration>,
    /// Where its requests go as they are; it has no calls then.
    pub proxy: Option<Box<ProxyPlan>>,
    /// What the reply needs.
    pub need: Need,
    /// The graph.
    pub calls: Vec<CallPlan>,
    /// Calls that are parts of the reply, in the order written.
    pub parts: Vec<usize>,
    /// Calls with `into`, in the order in which their answers are added: what is added to one of them comes before it.
    pub joins: Vec<usize>,
    /// How the parts join.
    pub reply: Reply,
    /// The call whose failed status becomes the reply's.
    pub status_from: Option<usize>,
    /// Whether its body does too.
    pub errors_pass: bool,
    /// Whether `_parts` is added to the body.
    pub account_body: bool,
    /// Whether Server-Timing is sent; None: only with `--dev`.
    pub timing: Option<bool>,
}

/// A route that is passed through.
#[derive(Debug)]
pub struct ProxyPlan {
    /// What is asked, but for the body and what follows.
    pub request: HttpAction,
    /// Headers of the client that go along beside those let in.
    pub always: Vec<HeaderName>,
    /// The parameter `*rest` that ends the path, and may end with a slash.
    pub rest: Option<usize>,
    /// Whether the query goes on as it came, behind the request's own.
    pub pass_query: bool,
    /// Whether answers are kept as their source says, and how long after that they may stand in when it fails.
    pub keep: Option<Duration>,
    /// Response headers that go to the client although such headers do not.
    pub forward: Vec<HeaderName>,
    /// Attempts after the first, before anything of the answer was passed on; 0 where the request may have a body.
    pub retry: u32,
    /// The largest answer, in bytes as sent; None: any.
    pub max_body: Option<u64>,
    /// From the end of the request to the head of the answer.
    pub first_byte: Duration,
    /// Between two pieces, in both directions and on both sides.
    pub body_idle: Duration,
}

/// One piece of a route's pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// These bytes, exactly.
    Fixed(String),
    /// One segment: the path parameter with this index.
    Param(usize),
    /// The rest of the path, slashes included: the path parameter with this index.
    Rest(usize),
}

/// One parameter of a route.
#[derive(Clone, Debug)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: ParamKind,
    /// Its value when the client sends none.
    pub default: ParamDefault,
    /// Whether it takes repeats (`tag: []`); its value is then a list.
    pub repeats: bool,
    /// Whether some call puts it into a path, where `..`, `/` and the like are refused.
    pub in_path: bool,
    /// Whether it is `*rest`, which may hold slashes in a path.
    pub rest: bool,
    /// Whether it may end with a slash, as the path of a folder does: `*rest` where it ends the path of a proxy.
    pub may_be_folder: bool,
}

/// The type of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum ParamKind {
    /// 64 bit, with bounds.
    Int {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// A finite decimal number.
    Number,
    /// `true` or `false`.
    Bool,
    /// Any text without control characters.
    Text,
    /// A UUID, sent lower case.
    Uuid,
    /// `2026-11-20`.
    Date,
}

/// What stands in for an absent parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum ParamDefault {
    /// 400.
    Required,
    /// It is missing.
    Missing,
    /// This value, as text in canonical form.
    Value(String),
}

/// What a reply needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// No `need:` was written: it fails when every part fails.
    OnePart,
    /// These calls; an empty list never fails.
    All(Vec<usize>),
}

/// How parts join.
#[derive(Clone, Debug)]
pub enum Reply {
    /// An object, one key per part, in the order written.
    Object,
    /// One call's value.
    Only(usize),
    /// A value with references.
    Value(Value),
    /// The objects of these calls in one, later keys win.
    Merge(Vec<usize>),
    /// What a program makes of the object of all parts.
    Jq(Program),
}

/// One call of a route's graph.
#[derive(Debug)]
pub struct CallPlan {
    /// Its name.
    pub name: Arc<str>,
    /// Its key in the account, lower case.
    pub account_key: String,
    /// What it does.
    pub action: Action,
    /// Calls that must have ended before it starts: those its request, `when` and `after` name.
    pub waits: Vec<usize>,
    /// Of these, those that must have ended well (`after: [x ok]`).
    pub waits_ok: Vec<usize>,
    /// Its condition, where it needs no interpreter.
    pub when: Option<Condition>,
    /// Its condition, where it does.
    pub when_program: Option<Box<Program>>,
    /// Statuses that are a success.
    pub ok: OkSet,
    /// Limit of an attempt; None: what is left of the deadline.
    pub timeout: Option<Duration>,
    /// Limit from sending to the head of the answer.
    pub first_byte: Option<Duration>,
    /// Limit between two pieces of the body.
    pub body_idle: Duration,
    /// Attempts after the first; 0 where a retry is not safe.
    pub retry: u32,
    /// Whether it may be sent twice; decides retries and whether a lost client cancels it.
    pub idempotent: bool,
    /// The largest answer, decoded.
    pub max_body: u64,
    /// What stands in when it fails.
    pub otherwise: Option<Otherwise>,
    /// Whether it is named only in `else`, so that it starts only when needed and is no part.
    pub only_else: bool,
    /// Whether it is a part of the reply.
    pub is_part: bool,
    /// Whether the account tells of it: a part, or a call that adds to one.
    pub is_told: bool,
    /// What becomes of a good answer before it is the value; None: nothing.
    pub edit: Option<Box<EditPlan>>,
    /// How its answers are kept; None: they are not.
    pub keep: Option<Box<KeepPlan>>,
    /// What it makes of a list; None: it is made once.
    pub list: Option<Box<ListPlan>>,
    /// Response headers that go to the client.
    pub forward: Vec<HeaderName>,
}

/// How the answers of a call are kept: `cache`, `stale` and `vary`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeepPlan {
    /// How long they are fresh, and how long they may stand in after that; not both are zero unless the source says how long.
    pub times: Times,
    /// Whether the source says how long they are fresh: `cache: http`.
    pub by_source: bool,
    /// Indices into [`RoutePlan::headers`] of what they may depend on, beside credentials.
    pub vary: Vec<usize>,
    /// Headers that the call is not sent, since its answers are for others as well.
    pub left_out: Vec<HeaderName>,
}

/// How a call is made for the items of a list.
#[derive(Debug)]
pub struct ListPlan {
    /// One request per item, or one for many.
    pub kind: ListKind,
    /// The items; behind `[]`, or of a parameter that takes repeats.
    pub over: Reference,
    /// Where its answers are added; it is then no part of its own.
    pub into: Option<IntoPlan>,
    /// Requests at once.
    pub width: usize,
    /// Items that the list may have.
    pub max_items: usize,
    /// Whether a reference of another call goes to where its answers are added, so that they are added as soon as it has ended.
    pub is_entered: bool,
}

/// How the items of a list are asked for.
#[derive(Debug)]
pub enum ListKind {
    /// One request per item.
    Each {
        /// Whether `when` names `$it` and is asked for each item; else it is asked once.
        when_by_item: bool,
    },
    /// One request for many keys.
    Batch(Matching),
}

/// How the answers to many keys find them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matching {
    /// A list of answers, each with its key inside.
    Field {
        /// The way to the list, without `[]`; empty where the answer is the list.
        list: Vec<Hop>,
        /// From an item to its key.
        key: Vec<Hop>,
    },
    /// An object with one entry per key.
    Key,
    /// A list with one item per key, in their order.
    Order,
}

/// A place in another call's answer that gets something added: `posts[].author`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntoPlan {
    /// The call whose answer it is.
    pub call: usize,
    /// From there to the items, up to and with the last `[]`.
    pub list: Vec<Hop>,
    /// From an item to the object that gets the key; mostly empty.
    pub inside: Vec<Hop>,
    /// The key.
    pub key: String,
}

/// What a call does.
#[derive(Debug)]
pub enum Action {
    /// An HTTP request.
    Http(HttpAction),
    /// A statement.
    Sql(SqlAction),
    /// A command.
    Redis(RedisAction),
    /// A job.
    Run(RunAction),
    /// A value made of references.
    Value(Value),
}

impl Action {
    /// The source that it asks.
    pub fn source(&self) -> Option<usize> {
        match self {
            Action::Http(http) => Some(http.source),
            Action::Sql(sql) => Some(sql.source),
            Action::Redis(redis) => Some(redis.source),
            Action::Run(run) => Some(run.source),
            Action::Value(_) => None,
        }
    }
}

/// The statement of an SQL call.
#[derive(Debug)]
pub struct SqlAction {
    /// Index of the source.
    pub source: usize,
    /// The statement, with `$1`, `$2` and so on for values.
    pub text: Arc<str>,
    /// What stands for each of them.
    pub params: Vec<Reference>,
    /// What is made of its rows.
    pub want: SqlWant,
    /// Whether it may change something.
    pub is_exec: bool,
    /// Where the statement stands in the config.
    pub place: Span,
}

/// What is made of the rows of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SqlWant {
    /// A list of objects.
    Rows,
    /// The object of the only row, or null.
    One,
    /// `{"rows":3}`, how many were changed.
    Count,
}

/// The command of a Redis call.
#[derive(Debug)]
pub struct RedisAction {
    /// Index of the source.
    pub source: usize,
    /// Its name and its arguments. One that is nothing but a reference becomes an argument for each value of a list.
    pub words: Vec<Template>,
    /// Whether it only reads.
    pub is_read: bool,
}

/// The job of a call to a program.
#[derive(Debug)]
pub struct RunAction {
    /// Index of the source.
    pub source: usize,
    /// What it is given, as JSON.
    pub job: Value,
}

/// The request of an HTTP call.
#[derive(Debug)]
pub struct HttpAction {
    /// Index of the source.
    pub source: usize,
    /// Its method.
    pub method: Method,
    /// The path; a reference is one encoded segment (or several, for `*rest`).
    pub path: Template,
    /// The query, pair by pair; a pair whose whole value is one missing parameter is left out.
    pub query: Vec<(String, Template)>,
    /// Headers of this call.
    pub headers: Vec<(HeaderName, Template)>,
    /// Indices into [`RoutePlan::headers`] of what the client sent that goes to this call, credentials only where the source passes them.
    pub pass: Vec<usize>,
    /// JSON body.
    pub body: Option<Value>,
}

/// Text with references.
#[derive(Clone, Debug, PartialEq)]
pub struct Template(pub Vec<Piece>);

/// A piece of a template.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// As it stands; in paths and queries already encoded.
    Text(String),
    /// A value.
    Ref(Reference),
}

/// `$name.field.0[]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    /// What it names.
    pub root: Root,
    /// The way into it.
    pub path: Vec<Hop>,
    /// As written, for messages: `$posts[].id`.
    pub text: String,
}

/// What a reference names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Root {
    /// A parameter: index into [`RoutePlan::params`].
    Param(usize),
    /// A call: index into [`RoutePlan::calls`].
    Call(usize),
    /// A header let in: index into [`RoutePlan::headers`].
    Header(usize),
    /// The request's JSON body.
    Body,
    /// What the call with this index adds to, with that in its place: the reference goes to where it is added.
    Joined(usize),
    /// `$it`: the item that an `each` asks for.
    It,
    /// `$keys`: the keys that a `batch` asks for at once.
    Keys,
}

/// One hop of a reference's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hop {
    /// `.field`
    Field(String),
    /// `.0`
    Index(usize),
    /// `[]`: each item.
    Each,
}

/// A JSON value with references.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// JSON text without references.
    Literal(Bytes),
    /// The value itself, of whatever type; missing is null.
    Ref(Reference),
    /// Text with references inside.
    Text(Template),
    /// A list.
    List(Vec<Value>),
    /// An object, keys in the order written.
    Object(Vec<(String, Value)>),
}

/// `when:`, a small part of jq that needs no interpreter.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// jq truth: null, false and missing are no.
    Truth(Reference),
    /// `a == b` and its sisters.
    Compare(Operand, Comparison, Operand),
    /// `a and b`.
    And(Box<Condition>, Box<Condition>),
    /// `a or b`.
    Or(Box<Condition>, Box<Condition>),
    /// `a | not`.
    Not(Box<Condition>),
}

/// One side of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// A reference.
    Ref(Reference),
    /// A JSON scalar.
    Literal(Bytes),
}

/// How two values compare; order as jq's: null < false < true < numbers < strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// A jq program and what its variables stand for.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    pub(crate) jq: Arc<Jq>,
    /// In the order of the program's.
    pub(crate) variables: Vec<Variable>,
}

/// What a variable of a program stands for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Variable {
    /// A value; missing is null.
    Value(Reference),
    /// An object of headers, by the name that the program asks for.
    Headers(Vec<(String, Reference)>),
}

/// What becomes of a good answer, in this order.
#[derive(Clone, Debug, PartialEq)]
pub struct EditPlan {
    /// `pick`, `drop`, `rename`.
    pub(crate) keys: Option<Arc<KeyEdit>>,
    /// `jq`.
    pub(crate) program: Option<Program>,
}

/// `else:`.
#[derive(Clone, Debug)]
pub enum Otherwise {
    /// This value; the calls that it names must have ended first.
    Value {
        /// The value.
        value: Value,
        /// The calls that it names.
        waits: Vec<usize>,
    },
    /// This call's value.
    Call(usize),
}

/// Statuses that are a success, `ok: [2xx, {404: null}]`.
#[derive(Clone, Debug)]
pub struct OkSet {
    /// Entries in the order written; the first that matches decides.
    pub entries: Vec<OkEntry>,
}

/// One entry of `ok:`.
#[derive(Clone, Debug)]
pub struct OkEntry {
    /// First status.
    pub from: u16,
    /// Last status.
    pub to: u16,
    /// The value to take instead of the body.
    pub value: Option<Bytes>,
}
