//! Log lines to standard error, as text or JSON.

use std::io::IsTerminal;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::{LogFormat, LogSettings};
use crate::error::{Error, ErrorKind, Result};

/// Installs the process's log subscriber.
///
/// Errors: `InvalidRequest` if `log.level` is no filter, `Internal` if a subscriber is installed already.
pub fn init(settings: &LogSettings) -> Result<()> {
    let colours = std::io::stderr().is_terminal();
    let subscriber = subscriber(settings, std::io::stderr, colours)?;
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|error| Error::internal("the log is set up twice").with_source(error))
}

fn subscriber<W>(
    settings: &LogSettings,
    writer: W,
    colours: bool,
) -> Result<Box<dyn Subscriber + Send + Sync>>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt()
        .with_env_filter(parse_filter(&settings.level)?)
        .with_writer(writer)
        .with_ansi(colours);
    Ok(match settings.format {
        LogFormat::Text => Box::new(lines.finish()),
        LogFormat::Json => Box::new(lines.json().flatten_event(true).finish()),
    })
}

/// A filter's directive may be a bare target, which makes `inf` mean the target `inf`: a word alone must
/// be a level.
fn parse_filter(level: &str) -> Result<EnvFilter> {
    let refuse = || {
        let message = format!(
            "`log.level` is no filter: expected error, warn, info, debug, trace, off or a list of \
             target=level, found `{level}`"
        );
        Error::new(ErrorKind::InvalidRequest, "invalid_config", message)
    };
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    let mut directives = level.split(',').map(str::trim);
    let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    if !directives.all(|directive| directive.contains('=') || is_level(directive)) {
        return Err(refuse());
    }
    EnvFilter::builder()
        .parse(level)
        .map_err(|error| refuse().with_source(error))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: &str, format: LogFormat) -> String {
        let lines = Lines::default();
        let settings = LogSettings {
            level: level.to_owned(),
            format,
        };
        let writer = lines.clone();
        let subscriber = subscriber(&settings, move || writer.clone(), false).expect("valid");
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(wal_seq = 7, "slot written");
            tracing::debug!("not at info");
        });
        let bytes = lines.0.lock().clone();
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn json_line_holds_message_and_fields() {
        let text = logged("info", LogFormat::Json);
        let line: serde_json::Value = serde_json::from_str(text.trim()).expect("one JSON line");
        assert_eq!(line["message"], "slot written");
        assert_eq!(line["wal_seq"], 7);
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn text_line_holds_message_and_fields() {
        let text = logged("info", LogFormat::Text);
        assert!(text.contains("slot written wal_seq=7"), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }

    #[test]
    fn level_filters_lines() {
        assert_eq!(logged("error", LogFormat::Text), "");
        assert_eq!(
            logged("error,elacsym=debug", LogFormat::Text)
                .lines()
                .count(),
            2
        );
    }

    #[test]
    fn level_that_is_no_filter_is_refused() {
        for level in ["inf", "", "info,elacsym=loud", "elacsym"] {
            let error = parse_filter(level).expect_err(level);
            assert_eq!(error.code(), "invalid_config");
        }
    }
}
