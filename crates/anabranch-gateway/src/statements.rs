//! What databases make of the statements of a plan, asked before the first request comes.

use std::time::Duration;

use anabranch::Client;

use crate::config::Span;
use crate::gateway::Gateway;

/// What became of asking about a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remark {
    /// The database could not carry this statement out.
    Fault {
        /// Where the statement stands in the config.
        place: Span,
        /// What is wrong, with the name of the call.
        message: String,
    },
    /// A database could not be asked, so nothing is known of its statements.
    NotAsked(String),
}

impl Gateway {
    /// Asks each database what it makes of its statements, without running any, for at most `limit` each. Gives what is wrong, in the
    /// order of the plan; nothing where all is well, where there is no database, or where none is built in.
    pub async fn describe_statements(&self, client: &Client, limit: Duration) -> Vec<Remark> {
        #[cfg(feature = "postgres")]
        return asked::all(self, client, limit).await;
        #[cfg(not(feature = "postgres"))]
        {
            let _ = (client, limit);
            Vec::new()
        }
    }
}

#[cfg(feature = "postgres")]
mod asked {
    use std::time::Duration;

    use anabranch::postgres::Postgres;
    use anabranch::{CallError, Client, Deadline, Kind, Phase};

    use super::Remark;
    use crate::gateway::Gateway;
    use crate::plan::{Action, CallPlan, SqlAction};
    use crate::source::GatewaySource;

    pub(super) async fn all(gateway: &Gateway, client: &Client, limit: Duration) -> Vec<Remark> {
        let mut remarks = Vec::new();
        for (index, source) in gateway.sources.iter().enumerate() {
            if let GatewaySource::Postgres(db) = source {
                of_database(gateway, index, db, client, Deadline::after(limit), &mut remarks).await;
                db.release(client);
            }
        }
        remarks
    }

    async fn of_database(gateway: &Gateway, index: usize, db: &Postgres, client: &Client, deadline: Deadline, remarks: &mut Vec<Remark>) {
        let statements = gateway
            .plan
            .routes
            .iter()
            .flat_map(|route| &route.calls)
            .filter_map(|call| match &call.action {
                Action::Sql(action) if action.source == index => Some((call, action)),
                _ => None,
            });
        for (call, action) in statements {
            let Err(error) = db.describe(client, &action.text, deadline).await else {
                continue;
            };
            let is_fault = matches!(error.kind(), Kind::Status | Kind::Decode) && error.phase() != Some(Phase::Connect);
            if !is_fault {
                remarks.push(Remark::NotAsked(format!(
                    "the statements of `{}` were not checked: {error}",
                    db.name()
                )));
                return;
            }
            remarks.push(fault(call, action, &error));
        }
    }

    fn fault(call: &CallPlan, action: &SqlAction, error: &CallError) -> Remark {
        Remark::Fault {
            place: action.place,
            message: format!("the database refuses the statement of `{}`: {}", call.name, error.detail()),
        }
    }
}
