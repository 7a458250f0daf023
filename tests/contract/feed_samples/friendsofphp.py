"""Composer packages, with and without a CVE."""

from __future__ import annotations

SAMPLE = {
    "symfony/symfony/CVE-2021-41267.yaml": """\
title:     "CVE-2021-41267: Webcache Poisoning via X-Forwarded-Prefix and sub-request"
link:      https://symfony.com/cve-2021-41267
cve:       CVE-2021-41267
branches:
    5.2.x:
        time:     2021-10-09 12:10:44
        versions: ['>=5.2.0', '<5.3.0']
    5.3.x:
        time:     2021-10-09 12:10:44
        versions: ['>=5.3.0', '<5.3.12']
reference: composer://symfony/symfony
""",
    "cakephp/cakephp/2015-08-06.yaml": """\
title:     Direct access of prefixed controller actions
link:      https://bakery.cakephp.org/2015/08/06/cakephp_2_5_9_2_6_10_2_7_2_released.html
cve:       ~
branches:
    2.0.x:
        time:     2015-08-06 22:08:00
        versions: ['>=2.0.0', '<2.0.99']
reference: composer://cakephp/cakephp
""",
}
EXPECTED_KEYS = tuple(SAMPLE)
_CAKE = SAMPLE["cakephp/cakephp/2015-08-06.yaml"]
BROKEN = {
    "a/a/2020-01-01.yaml": (_CAKE.replace("composer://", "https://"), "schema"),
    "a/b/2020-01-01.yaml": (_CAKE.replace("versions: ['>=2.0.0', '<2.0.99']", "versions: []"), "schema"),
    "a/c/2020-01-01.yaml": (
        _CAKE.partition("branches")[0] + "branches: {}\nreference: composer://a/c\n",
        "schema",
    ),
    "a/d/2020-01-01.yaml": (_CAKE.replace("'<2.0.99']", "'<2.0.99"), "not-yaml"),
}
SHARED = ("friendsofphp", 1592, 0)
COUNTS = {"read": 1592, "added": 1592, "equalKeys": 0, "ignored": 1}
QUIRKS = {
    "a branch's name is a number, and the package is not on Packagist": (
        "magento/magento1ce/CVE-2019-7938.yaml",
        """\
title: 'PRODSECBUG-2369: Stored cross-site scripting in the admin panel'
link: 'https://magento.com/security/patches/'
cve: CVE-2019-7938
branches:
    1:
        time: '2019-06-25 00:00:00'
        versions: ['>=1', '<1.9.4.2']
reference: 'composer://magento/magento1ce'
composer-repository: false
""",
        ["magento/magento1ce/CVE-2019-7938.yaml"],
    ),
    "time and CVE are null": (
        "drupal/a/2020-01-01.yaml",
        _CAKE.replace("2015-08-06 22:08:00", "null").replace("cve:       ~", "cve: null"),
        ["drupal/a/2020-01-01.yaml"],
    ),
}
NO_DOCUMENTS = {
    "composer.json": "{}",
    "validator.php": "<?php\n",
    ".travis.yml": "language: php\n",
    "a.yaml": "b: c\n",
}
