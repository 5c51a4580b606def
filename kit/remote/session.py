"""One conversation with the service: credentials, single calls, retries of reads, and errors in the kit's own words.

Everything that is odd about the official client is dealt with here: it authenticates while it is imported, prints help
on standard output, leaves with SystemExit, sets no timeout and retries nothing. Knows no competition's content.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from kit.core.secrets import without_secrets
from kit.errors import CredentialsError, NotFound, RemoteError, RemoteUnavailable, RulesNotAccepted
from kit.remote.credentials import config_file, how, prepare, read_from

if TYPE_CHECKING:  # at run time they are imported where they are used: `_import_api` says with what care
    import requests
    from kaggle.api.kaggle_api_extended import KaggleApi
    from kagglesdk import KaggleClient

T = TypeVar("T")

PAUSES = (1.0, 3.0, 9.0, 20.0)  # seconds before the second, third, ... attempt of a read
LONGEST_PAUSE = 60.0  # a Retry-After beyond this is not believed
_KEY = ("KAGGLE_USERNAME", "KAGGLE_KEY")


class Unavailable(RemoteUnavailable):
    """No usable answer. `retry_after` is what the service asked for; `refused` says that it did nothing (429)."""

    def __init__(self, message: str, *, retry_after: float = 0.0, refused: bool = False) -> None:
        super().__init__(message)
        self.retry_after = min(retry_after, LONGEST_PAUSE)
        self.refused = refused


class RefusalError(RemoteError):
    """The service read the request and said no: 400 and the like."""


class Session:
    """Calls of the competition service on behalf of one user for one competition."""

    def __init__(
        self,
        slug: str,
        *,
        timeout: float,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.slug, self.timeout, self.sleep, self.clock = slug, timeout, sleep, clock
        self._api: KaggleApi | None = None

    def ask(self, method: str, **fields: object) -> Any:
        """Make one call without a retry, such as `ask("get_submission", ref=7)`.

        Raises:
            RemoteError: or the member of its tree that says what was wrong.
        """
        with self.client() as client:
            return self.ask_with(client, method, **fields)

    def ask_with(self, client: KaggleClient, method: str, **fields: object) -> Any:
        """Return `ask` on a client that is already open, for an answer whose body is still to be read."""
        types = importlib.import_module("kagglesdk.competitions.types.competition_api_service")
        request = getattr(types, f"Api{method.title().replace('_', '')}Request")()
        for name, value in fields.items():
            setattr(request, name, value)
        with self.in_our_words(), quiet():
            return getattr(client.competitions.competition_api_client, method)(request)

    def read(self, method: str, **fields: object) -> Any:
        """Return `ask` with retries, for calls that change nothing."""
        return self.patiently(lambda: self.ask(method, **fields))

    def patiently(self, call: Callable[[], T]) -> T:
        """Repeat `call` while the service is unavailable, a few times and with growing pauses."""
        for pause in PAUSES:
            try:
                return call()
            except Unavailable as error:
                self.sleep(max(pause, error.retry_after))
        return call()

    @contextlib.contextmanager
    def client(self) -> Iterator[KaggleClient]:
        """Give an authenticated client of the SDK, open until the block ends."""
        api = self.api()
        with quiet():
            client = api.build_kaggle_client()
        with client:
            yield client

    def api(self) -> KaggleApi:
        """Return the official client, authenticated."""
        if self._api is None:
            self._api = self._authenticated()
        return self._api

    def _authenticated(self) -> KaggleApi:
        prepare()
        api = _import_api(self.timeout)
        with self.in_our_words(), quiet():
            try:
                api.authenticate()
            except SystemExit:  # the client's way to say that nothing was found
                raise CredentialsError(_nothing_works(api)) from None
            except ValueError as error:
                if str(error).startswith("Error: Missing"):  # what older ones say of a kaggle.json without a key
                    raise CredentialsError(_nothing_works(api)) from None
                raise
        token, source = _token()
        if token and not api.config_values.get("token"):
            raise CredentialsError(
                f"Kaggle does not accept the token in {source}, and the client sends it instead of your key. "
                f"Remove that token, or replace it. {how()}"
            )
        return api

    @contextlib.contextmanager
    def in_our_words(self) -> Iterator[None]:
        """Turn what the client and `requests` raise into the kit's errors."""
        try:
            yield
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise self.failure(error) from error

    def failure(self, error: Exception) -> RemoteError:
        """Return the kit's own error for what the client or `requests` raised."""
        import requests

        response = getattr(error, "response", None)
        if isinstance(error, requests.HTTPError) and response is not None:
            return self._refusal(response)
        if isinstance(error, requests.exceptions.SSLError):
            return RemoteError(
                f"The certificate of Kaggle's server was not accepted: {_short(error)}. Check the proxy."
            )
        if isinstance(error, requests.Timeout):
            return Unavailable(f"Kaggle did not answer within {self.timeout:g} s. Run the same command again later.")
        if isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError):
            return Unavailable(f"Kaggle cannot be reached ({_reason(error)}). {_network_hint()}")
        if isinstance(error, requests.exceptions.InvalidProxyURL | requests.exceptions.InvalidSchema):
            return RemoteError(
                f"The proxy cannot be used: {_short(error)} Look at the variables HTTPS_PROXY and ALL_PROXY."
            )
        if isinstance(error, requests.exceptions.InvalidJSONError | ValueError | KeyError | TypeError | AttributeError):
            return RemoteError(
                f"Kaggle's answer could not be read ({type(error).__name__}: {_short(error)}). If the network wants "
                "a log-in, give it in a browser; else run: pip install --upgrade kaggle kagglesdk"
            )
        return RemoteError(f"The call to Kaggle failed: {_short(error)}.")

    def _refusal(self, response: requests.Response) -> RemoteError:
        status, said = status_and_message(response)
        if status == 401:
            return CredentialsError(f"Kaggle does not accept {_who(self._api)} (401). {how()}")
        if status == 403:
            return RulesNotAccepted(
                f"Kaggle refused {self.slug} (403: {said}). Join it and accept the rules, which is possible only at "
                f"https://www.kaggle.com/competitions/{self.slug}/rules ; if you have, check the name, and that your "
                "phone is verified. Then run the same command again."
            )
        if status == 404:
            return NotFound(
                f"Kaggle does not find {self.slug} (404: {said}). The name is the last part of the competition's "
                "address https://www.kaggle.com/competitions/NAME"
            )
        if status == 429:
            wait = _retry_after(response)
            return Unavailable(
                "Kaggle asks for fewer requests (429). Wait some minutes, then run the same command again.",
                retry_after=wait,
                refused=True,
            )
        if status >= 500 or status == 408:
            message = f"Kaggle has trouble of its own ({status}: {said}). Run the same command again later."
            return Unavailable(message, retry_after=_retry_after(response))
        return RefusalError(f"Kaggle refused the request ({status}: {said}).")

    def plain(self) -> requests.Session:
        """Return a `requests` session without credentials, for addresses that carry their own signature."""
        import requests

        session = requests.Session()
        session.auth = lambda request: request  # else `requests` would add what ~/.netrc says
        return session


def _short(error: object) -> str:
    # signed addresses and tokens stay out of messages: before they are cut, for half a token is one too
    text = without_secrets(re.sub(r"(https?://[^\s?]+)\?\S*", r"\1", " ".join(str(error).split())))
    return text if len(text) <= 200 else f"{text[:200]}..."


def _reason(error: Exception) -> str:
    text = str(error)
    for mark, reason in (
        ("NameResolution", "its name does not resolve"),
        ("Failed to resolve", "its name does not resolve"),
        ("ProxyError", "the proxy did not answer"),
        ("refused", "the connection was refused"),
        ("timed out", "the connection timed out"),
    ):
        if mark in text:
            return reason
    return "the connection was cut"


def _network_hint() -> str:
    if os.environ.get("KAGGLE_KERNEL_RUN_TYPE"):
        return "Turn on Internet in the notebook's settings, then run the same command again."
    return "Check the network and the proxy (HTTPS_PROXY), then run the same command again."


def status_and_message(response: requests.Response) -> tuple[int, str]:
    """Return the status that counts and the service's sentence: a body may say 403 under HTTP 200."""
    status, said = response.status_code, response.reason or ""
    with contextlib.suppress(Exception):  # whatever the body is, the status is enough
        body = response.json()
        body = body["error"] if isinstance(body.get("error"), dict) else body
        said = body.get("message") or said
        if isinstance(body.get("code"), int) and status < 400:
            status = body["code"]
    return status, _short(said) or "no reason given"


def _retry_after(response: requests.Response) -> float:
    """Seconds that the service asks to wait; 0 where it does not say. Either a number or a date is allowed."""
    text = (response.headers.get("Retry-After") or "").strip()
    if text.isdigit():
        return float(text)
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    return 0.0


# --- the official client ------------------------------------------------------


def quiet() -> contextlib.redirect_stdout[io.StringIO]:
    """Keep the client's help and warnings off standard output, where results go."""
    return contextlib.redirect_stdout(io.StringIO())


def _import_api(timeout: float) -> KaggleApi:
    """Return an unauthenticated `KaggleApi` all of whose calls have a timeout."""
    try:
        with _harmless_import(), quiet():
            from kaggle.api.kaggle_api_extended import KaggleApi
    except ModuleNotFoundError as error:
        raise RemoteError(f"The Kaggle client is not complete ({error}). Run: pip install kaggle six") from error
    from requests.adapters import HTTPAdapter

    class Adapter(HTTPAdapter):
        def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
            kwargs["timeout"] = kwargs.get("timeout") or timeout
            return super().send(request, *args, **kwargs)

    class Api(KaggleApi):  # type: ignore[misc]  # the client has no types
        # verbose would print the Authorization header, and hold a whole download in memory
        args = [flag for flag in KaggleApi.args if flag not in ("--verbose", "-v")]  # noqa: RUF012

        def read_config_file(self, *args: Any, **kwargs: Any) -> dict[str, str]:
            with contextlib.suppress(OSError, ValueError):  # said by `credentials.prepare`, where it is needed
                found = super().read_config_file(*args, **kwargs)
                return found if isinstance(found, dict) else {}
            return {}

        def build_kaggle_client(self) -> KaggleClient:
            client = super().build_kaggle_client()
            http = client.http_client()
            http._init_session()
            for scheme in ("https://", "http://"):
                http._session.mount(scheme, Adapter())
            return client

    return Api()


@contextlib.contextmanager
def _harmless_import() -> Iterator[None]:
    """Let `import kaggle` neither call the service (without a timeout), nor log, nor need a writable HOME, nor leave.

    The client authenticates while it is imported, and up to 2.0 lets out what goes wrong, or exits. So it is told that
    a token is not valid, and given a key, which it does not try. It authenticates again, with what there is, when used.
    """
    import requests
    from kagglesdk.kaggle_http_client import KaggleHttpClient

    def refuse(*_: object, **__: object) -> None:
        response = requests.Response()
        response.status_code = 400
        raise requests.HTTPError("not while importing", response=response)

    names = ("VERBOSE", "VERBOSE_OUTPUT", "KAGGLE_ENABLE_OAUTH", *_KEY)
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    call, KaggleHttpClient.call = KaggleHttpClient.call, refuse
    os.environ.update(dict.fromkeys(_KEY, "importing"))
    try:
        with _config_folder():
            yield
    finally:
        KaggleHttpClient.call = call
        for name in _KEY:
            del os.environ[name]
        os.environ.update(kept)


@contextlib.contextmanager
def _config_folder() -> Iterator[None]:
    # the client makes its folder as it is imported, and dies where it cannot; a folder made in vain loses nothing,
    # because a token is read from elsewhere and a kaggle.json can only be in a folder that exists
    if _can_have_config():
        yield
        return
    before = os.environ.get("KAGGLE_CONFIG_DIR")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["KAGGLE_CONFIG_DIR"] = folder
        try:
            yield
        finally:
            del os.environ["KAGGLE_CONFIG_DIR"]
            if before is not None:
                os.environ["KAGGLE_CONFIG_DIR"] = before


def _can_have_config() -> bool:
    folder = config_file().parent
    if not folder.is_absolute():  # there is no home
        return False
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        return True
    return False


def _token() -> tuple[str | None, str]:
    """Return the token that the client would send, and where it was found."""
    from kagglesdk.kaggle_env import get_access_token_from_env

    token, source = get_access_token_from_env()
    if token and read_from(token):
        return token, read_from(token) or ""
    return token, {"access_token": "~/.kaggle/access_token"}.get(source or "", source or "")


def _nothing_works(api: KaggleApi) -> str:
    token, source = _token()
    if token:
        return f"Kaggle does not accept the token in {source}: it has expired or was revoked. {how()}"
    if os.environ.get("KAGGLE_TOKEN"):
        return f"KAGGLE_TOKEN is set, but the variable's name is KAGGLE_API_TOKEN. {how()}"
    if Path(api.config).exists():
        return f"{api.config} holds no username and key. {how()}"
    return f"There are no Kaggle credentials on this machine. {how()}"


def _who(api: KaggleApi | None) -> str:
    token, source = _token()
    if os.environ.get("KAGGLE_TOKEN") and not token:
        return "the variable KAGGLE_TOKEN, which the client sends instead of your credentials: unset it"
    if token:
        return f"the token in {source}"
    if os.environ.get("KAGGLE_KEY"):
        return f"the key in {read_from(os.environ['KAGGLE_KEY']) or 'KAGGLE_USERNAME and KAGGLE_KEY'}"
    return f"the key in {api.config}" if api is not None and Path(api.config).exists() else "your credentials"
