//! Serving a listener until told to stop.

use super::starting::Startup;
use std::future::Future;
use std::io;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// How long answers may still run after the signal: an event stream would run for ever.
const GRACE: Duration = Duration::from_secs(5);

/// Serves until `shutdown` is ready, then finishes open answers for a few seconds.
pub async fn serve(
    listener: TcpListener,
    startup: Startup,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (told, stopping) = oneshot::channel();
    let signal = async move {
        shutdown.await;
        // Nobody listens only if serving has ended already.
        let _ = told.send(());
    };
    let serving = axum::serve(listener, startup.router()).with_graceful_shutdown(signal);
    let patience = async {
        match stopping.await {
            Ok(()) => tokio::time::sleep(GRACE).await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        result = serving => result,
        () = patience => Ok(()),
    }
}
