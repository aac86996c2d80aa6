//! `plan`: what a route does, in which order, and how much that may be at the most. Nothing is started and nobody is asked.

mod call;
mod mermaid;
mod text;

use anabranch_gateway::plan::{Plan, RoutePlan};
use anabranch_gateway::route::{Find, Router};
use anyhow::anyhow;
use http::Method;

use crate::cli::PlanArgs;
use crate::config_file;
use crate::exit::{Exit, Failure};
use crate::terminal::{self, Terminal};

/// Draws one route or all of them.
pub(crate) fn run(args: &PlanArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let plan = match config_file::load(&args.file, terminal)?.or_exit() {
        Ok(plan) => plan,
        Err(exit) => return Ok(exit),
    };
    let routes = match &args.route {
        None => plan.routes.iter().collect(),
        Some(route) => vec![find(&plan, route)?],
    };
    let drawn = if args.mermaid {
        mermaid::draw(&plan, &routes)
    } else {
        text::draw(&plan, &routes)
    };
    terminal::data(drawn.as_bytes())?;
    Ok(Exit::Ok)
}

/// The route that is written so, or that answers such a request.
fn find<'p>(plan: &'p Plan, asked: &str) -> Result<&'p RoutePlan, Failure> {
    let asked = asked.trim();
    let (method, path) = asked
        .split_once(' ')
        .map_or((None, asked), |(method, path)| (Some(method), path.trim_start()));
    let is_method = |route: &RoutePlan| method.is_none_or(|method| route.method.as_str().eq_ignore_ascii_case(method));
    if let Some(route) = plan.routes.iter().find(|route| route.pattern == path && is_method(route)) {
        return Ok(route);
    }
    let method = method.unwrap_or("GET").to_ascii_uppercase();
    let path = path.split('?').next().unwrap_or(path);
    let answers = Method::from_bytes(method.as_bytes())
        .ok()
        .and_then(|method| match Router::new(plan).find(&method, path) {
            Find::Route(matched) => Some(&plan.routes[matched.index]),
            Find::MethodNotAllowed(_) | Find::NotFound => None,
        });
    let known: Vec<String> = plan
        .routes
        .iter()
        .map(|route| format!("`{} {}`", route.method, route.pattern))
        .collect();
    answers.ok_or_else(|| Failure::usage(anyhow!("no route is `{asked}` or answers it, expected one of {}", known.join(", "))))
}
