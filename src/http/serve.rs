//! Serving a listener until a shutdown signal.

use super::starting::Startup;
use std::future::Future;
use std::io;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Time for open answers after the signal. A limit is needed because an event stream may never end.
const GRACE: Duration = Duration::from_secs(5);

/// Serves until `shutdown` is ready, then gives open answers a few seconds to finish.
pub async fn serve(
    listener: TcpListener,
    startup: Startup,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (stop, stopping) = oneshot::channel();
    let signal = async move {
        shutdown.await;
        // The receiver is gone only if serving has ended already.
        let _ = stop.send(());
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
