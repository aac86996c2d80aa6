//! Which route answers a request: a tree of segments, walked once.
//!
//! Fixed segments win over parameters and those over `*rest`, with a step back where that leads nowhere. Fixed segments compare byte
//! for byte; what parameters capture stays as it was sent, [`Inputs`](crate::inputs::Inputs) decodes it.

use std::collections::HashMap;

use http::Method;

use crate::plan::model::{Plan, RoutePlan, Segment};

/// The routes of a plan as a tree.
#[derive(Debug)]
pub struct Router {
    /// The root is at 0; children are indices here.
    nodes: Vec<Node>,
    /// For each route, the path parameter that the captures fill, in the order of the path.
    params: Vec<Vec<usize>>,
    /// Whether `/x/` is `/x`.
    ignore_slash: bool,
}

/// A place in the tree: what may come next, and the routes that end here.
#[derive(Debug, Default)]
struct Node {
    fixed: HashMap<String, usize>,
    param: Option<usize>,
    /// The node of `*rest`, which has no children.
    rest: Option<usize>,
    /// Methods of the routes that end here, with the index of each.
    routes: Vec<(Method, usize)>,
}

/// What a request's method and path lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Find<'p> {
    /// This route.
    Route(Matched<'p>),
    /// The path is known, the method is not: 405 with this value of `Allow`; for OPTIONS the same with 204.
    MethodNotAllowed(String),
    /// No route has this path.
    NotFound,
}

/// A route and what its path parameters captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matched<'p> {
    /// Index into [`Plan::routes`].
    pub index: usize,
    /// One text for each path parameter, by its index, still percent-encoded; never empty.
    pub captures: Vec<&'p str>,
}

impl Router {
    /// The tree of a plan's routes. Of two routes with the same method and the same shape, which a plan refuses, the first counts.
    pub fn new(plan: &Plan) -> Self {
        let mut router = Router {
            nodes: vec![Node::default()],
            params: Vec::new(),
            ignore_slash: plan.ignore_slash,
        };
        for (index, route) in plan.routes.iter().enumerate() {
            router.insert(index, route);
        }
        router
    }

    fn insert(&mut self, index: usize, route: &RoutePlan) {
        let mut segments = route.segments.as_slice();
        if let ([rest @ .., Segment::Fixed(last)], true) = (segments, self.ignore_slash)
            && last.is_empty()
        {
            segments = rest;
        }
        // The pattern `/` is one empty segment, as its path is.
        let root = [Segment::Fixed(String::new())];
        let segments = if segments.is_empty() { &root } else { segments };
        let mut place = 0;
        let mut params = Vec::new();
        for segment in segments {
            place = self.child(place, segment);
            if let Segment::Param(param) | Segment::Rest(param) = segment {
                params.push(*param);
            }
        }
        self.params.push(params);
        let routes = &mut self.nodes[place].routes;
        if !routes.iter().any(|(method, _)| *method == route.method) {
            routes.push((route.method.clone(), index));
        }
    }

    fn child(&mut self, place: usize, segment: &Segment) -> usize {
        let new = self.nodes.len();
        let node = &mut self.nodes[place];
        let child = match segment {
            Segment::Fixed(text) => *node.fixed.entry(text.clone()).or_insert(new),
            Segment::Param(_) => *node.param.get_or_insert(new),
            Segment::Rest(_) => *node.rest.get_or_insert(new),
        };
        if child == new {
            self.nodes.push(Node::default());
        }
        child
    }

    /// Looks for the route of a method and a path (without its query, as sent). HEAD is answered by GET's route unless it has its own.
    /// Visits each node of the tree once at most, so that no path is expensive.
    pub fn find<'p>(&self, method: &Method, path: &'p str) -> Find<'p> {
        let Some(path) = path.strip_prefix('/') else {
            return Find::NotFound;
        };
        let path = if self.ignore_slash {
            path.strip_suffix('/').unwrap_or(path)
        } else {
            path
        };
        let mut search = Search {
            router: self,
            method,
            captures: Vec::new(),
            allowed: Vec::new(),
        };
        if let Some(index) = search.walk(0, Some(path)) {
            let mut captures = vec![""; search.captures.len()];
            for (capture, param) in search.captures.iter().zip(&self.params[index]) {
                if let Some(place) = captures.get_mut(*param) {
                    *place = capture;
                }
            }
            return Find::Route(Matched { index, captures });
        }
        if search.allowed.is_empty() {
            Find::NotFound
        } else {
            Find::MethodNotAllowed(search.allow())
        }
    }
}

/// One walk through the tree.
struct Search<'r, 'p> {
    router: &'r Router,
    method: &'r Method,
    /// What was captured on the way to the present node.
    captures: Vec<&'p str>,
    /// The methods of the nodes that the path led to.
    allowed: Vec<&'r Method>,
}

impl<'r, 'p> Search<'r, 'p> {
    /// Looks below a node for the rest of the path; None when the path has ended. Recurses as deep as the longest pattern.
    fn walk(&mut self, place: usize, path: Option<&'p str>) -> Option<usize> {
        let router = self.router;
        let node = &router.nodes[place];
        let Some(path) = path else { return self.end(node) };
        let (segment, after) = match path.split_once('/') {
            Some((segment, after)) => (segment, Some(after)),
            None => (path, None),
        };
        if let Some(index) = node.fixed.get(segment).and_then(|child| self.walk(*child, after)) {
            return Some(index);
        }
        if segment.is_empty() && after.is_none() {
            return None;
        }
        let kept = self.captures.len();
        if let Some(child) = node.param.filter(|_| !segment.is_empty()) {
            self.captures.push(segment);
            if let Some(index) = self.walk(child, after) {
                return Some(index);
            }
            self.captures.truncate(kept);
        }
        if let Some(child) = node.rest {
            self.captures.push(path);
            if let Some(index) = self.end(&router.nodes[child]) {
                return Some(index);
            }
            self.captures.truncate(kept);
        }
        None
    }

    fn end(&mut self, node: &'r Node) -> Option<usize> {
        let route_of = |method: &Method| node.routes.iter().find(|(own, _)| own == method).map(|(_, index)| *index);
        let found = route_of(self.method).or_else(|| {
            if self.method == Method::HEAD {
                route_of(&Method::GET)
            } else {
                None
            }
        });
        if found.is_none() {
            self.allowed.extend(node.routes.iter().map(|(method, _)| method));
        }
        found
    }

    fn allow(&self) -> String {
        let mut names: Vec<&str> = self.allowed.iter().map(|method| method.as_str()).collect();
        if names.contains(&"GET") {
            names.push("HEAD");
        }
        names.push("OPTIONS");
        names.sort_unstable();
        names.dedup();
        names.join(", ")
    }
}

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests {
    use super::testing::{plan, route};
    use super::*;

    fn router(routes: &[&str]) -> Router {
        Router::new(&plan(routes))
    }

    /// What a request leads to, in one line: `0 a=..` or the allowed methods.
    fn check(router: &Router, request: &str, expected: &str) {
        let (method, path) = request.split_once(' ').unwrap();
        let found = match router.find(&method.parse().unwrap(), path) {
            Find::Route(matched) => format!("{} {}", matched.index, matched.captures.join("|")),
            Find::MethodNotAllowed(allow) => format!("allow {allow}"),
            Find::NotFound => "none".to_string(),
        };
        assert_eq!(found.trim_end(), expected, "{request}");
    }

    #[test]
    fn fixed_wins_over_parameters_and_those_over_the_rest() {
        let router = router(&["GET /a/*rest", "GET /a/{x}", "GET /a/b", "GET /a/{x}/c", "GET /a/b/d", "GET /"]);
        check(&router, "GET /a/b", "2");
        check(&router, "GET /a/z", "1 z");
        check(&router, "GET /a/b/d", "4");
        check(&router, "GET /a/b/c", "3 b");
        check(&router, "GET /a/b/e", "0 b/e");
        check(&router, "GET /a/z/d/e/", "0 z/d/e/");
        check(&router, "GET /", "5");
        check(&router, "GET /b", "none");
        check(&router, "GET /a", "none");
    }

    #[test]
    fn an_empty_segment_is_no_value() {
        let router = router(&["GET /a/{x}", "GET /a/{x}/c", "GET /f/*rest"]);
        check(&router, "GET /a/", "none");
        check(&router, "GET /a//c", "none");
        check(&router, "GET /f/", "none");
        check(&router, "GET /f//x", "2 /x");
    }

    #[test]
    fn captures_stay_as_they_were_sent_and_fixed_text_compares_by_bytes() {
        let router = router(&["GET /a b/{x}", "GET /c/{x}/{y}"]);
        check(&router, "GET /c/%2e%2E/1%2f2", "1 %2e%2E|1%2f2");
        check(&router, "GET /%63/1/2", "none");
        check(&router, "GET /C/1/2", "none");
    }

    #[test]
    fn a_slash_at_the_end_counts_unless_it_is_ignored() {
        let strict = router(&["GET /x", "GET /y/"]);
        check(&strict, "GET /x", "0");
        check(&strict, "GET /x/", "none");
        check(&strict, "GET /y/", "1");
        check(&strict, "GET /y", "none");
        let mut plan = plan(&["GET /x", "GET /y/", "GET /z/{id}", "GET /"]);
        plan.ignore_slash = true;
        let loose = Router::new(&plan);
        for (request, expected) in [
            ("GET /x/", "0"),
            ("GET /x", "0"),
            ("GET /y", "1"),
            ("GET /y/", "1"),
            ("GET /z/7/", "2 7"),
            ("GET /", "3"),
        ] {
            check(&loose, request, expected);
        }
        check(&loose, "GET /x//", "none");
    }

    #[test]
    fn methods_choose_among_the_routes_of_a_path() {
        let router = router(&["GET /a", "POST /a", "POST /a/{x}", "GET /a/b", "HEAD /h", "GET /h", "OPTIONS /o"]);
        check(&router, "POST /a", "1");
        check(&router, "HEAD /a", "0");
        check(&router, "HEAD /h", "4");
        check(&router, "DELETE /a", "allow GET, HEAD, OPTIONS, POST");
        check(&router, "OPTIONS /a", "allow GET, HEAD, OPTIONS, POST");
        check(&router, "OPTIONS /o", "6");
        check(&router, "GET /a/z", "allow OPTIONS, POST");
        check(&router, "POST /a/b", "2 b");
        check(&router, "PUT /a/b", "allow GET, HEAD, OPTIONS, POST");
        check(&router, "OPTIONS *", "none");
        check(&router, "GET ", "none");
    }

    #[test]
    fn captures_are_placed_by_the_index_of_the_parameter() {
        let mut swapped = plan(&["GET /{a}/{b}"]);
        swapped.routes[0].segments = vec![Segment::Param(1), Segment::Param(0)];
        check(&Router::new(&swapped), "GET /x/y", "0 y|x");
    }

    #[test]
    fn a_long_path_and_a_bushy_tree_find_their_way() {
        let patterns: Vec<String> = (0u32..64)
            .map(|bits| (0..6).map(|bit| if bits >> bit & 1 == 1 { "/{x}" } else { "/s" }).collect())
            .collect();
        let mut plan = plan(&[]);
        plan.routes = patterns.iter().map(|pattern| route(&format!("GET {pattern}/end"))).collect();
        let router = Router::new(&plan);
        check(&router, &format!("GET {}", "/s".repeat(100_000)), "none");
        check(&router, "GET /s/t/s/s/s/t/end", "34 t|t");
        check(&router, "GET /s/s/s/s/s/s/end", "0");
        check(&router, "GET /t/t/t/t/t/t/end", "63 t|t|t|t|t|t");
    }
}
