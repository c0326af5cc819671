"""Which proxy is taken: the kubeconfig's, the environment's, or none."""

from __future__ import annotations

import pytest

from reroll.kube.config_error import ConfigError
from reroll.kube.proxy import choose_proxy

PROXY = "http://proxy:3128"


@pytest.mark.parametrize(
    ("server", "proxy_url", "environ", "expected"),
    [
        ("https://h", "", {}, None),
        ("https://h", PROXY, {}, PROXY),
        ("https://h", "https://u:p@proxy", {}, "https://u:p@proxy"),
        ("https://h", PROXY, {"HTTPS_PROXY": "http://other:1", "NO_PROXY": "*"}, PROXY),
        ("https://127.0.0.1", PROXY, {}, PROXY),
        ("https://h", "", {"HTTPS_PROXY": PROXY}, PROXY),
        ("https://h", "", {"https_proxy": PROXY}, PROXY),
        ("https://h", "", {"HTTPS_PROXY": PROXY, "https_proxy": "http://other:1"}, PROXY),
        ("https://h", "", {"HTTPS_PROXY": "proxy:3128"}, PROXY),
        ("https://h", "", {"HTTP_PROXY": PROXY}, None),
        ("http://h", "", {"HTTP_PROXY": PROXY}, PROXY),
        ("http://h", "", {"HTTPS_PROXY": PROXY}, None),
        ("https://localhost:6443", "", {"HTTPS_PROXY": PROXY}, None),
        ("https://127.1.2.3:6443", "", {"HTTPS_PROXY": PROXY}, None),
        ("https://[::1]:6443", "", {"HTTPS_PROXY": PROXY}, None),
        ("https://127.0.0.1", "", {"HTTPS_PROXY": "socks5://p"}, None),
    ],
)
def test_choice(server: str, proxy_url: str, environ: dict[str, str], expected: str | None) -> None:
    assert choose_proxy(server, proxy_url, "c: proxy-url", environ) == expected


@pytest.mark.parametrize(
    ("server", "no_proxy", "bypassed"),
    [
        ("https://api.example.org", "*", True),
        ("https://api.example.org", "example.org", True),
        ("https://example.org", "example.org", True),
        ("https://API.example.org.", "Example.ORG", True),
        ("https://badexample.org", "example.org", False),
        ("https://api.example.org", ".example.org", True),
        ("https://example.org", ".example.org", False),
        ("https://api.example.org", "*.example.org", True),
        ("https://api.example.org:6443", "example.org:6443", True),
        ("https://api.example.org:6443", "example.org:443", False),
        ("https://api.example.org", "example.org:443", True),
        ("http://api.example.org", "example.org:80", True),
        ("https://10.1.2.3", "10.1.2.3", True),
        ("https://10.1.2.3", "10.1.2.30", False),
        ("https://10.1.2.3", "other, 10.0.0.0/8", True),
        ("https://11.1.2.3", "10.0.0.0/8", False),
        ("https://10.1.2.3", "10.0.0.0/99,,", False),
        ("https://api.example.org", "10.0.0.0/8", False),
        ("https://[fd00::1]:6443", "fd00::1", True),
        ("https://[fd00::1]:6443", "[fd00::1]:6443", True),
        ("https://[fd00::1]:6443", "[fd00::1]:443", False),
        ("https://[fd00::1]:6443", "fd00::/8", True),
    ],
)
def test_no_proxy(server: str, no_proxy: str, bypassed: bool) -> None:
    for variable in ("NO_PROXY", "no_proxy"):
        chosen = choose_proxy(server, "", "", {"HTTPS_PROXY": PROXY, "HTTP_PROXY": PROXY, variable: no_proxy})
        assert chosen == (None if bypassed else PROXY)


def test_a_bad_proxy_of_the_environment_names_the_variable_and_not_its_password() -> None:
    with pytest.raises(
        ConfigError, match=r"^environment variable https_proxy: socks5h proxies are not"
    ) as caught:
        choose_proxy("https://h", "", "", {"https_proxy": "socks5h://u:s3cret@p"})
    assert "s3cret" not in str(caught.value)
