"""What must not enter a register: identity numbers, telephone numbers, bank accounts, protected attributes.

A raw column that no mapping reads is ignored; these checks concern what a source does map.
"""

from __future__ import annotations

import re

_BY_NAME = {
    "an identity number": re.compile(
        r"身份证|证件号|公民身份|护照|社保号|社会保障号|(?:^|_)(?:id_?card|identity_?(?:no|number|card)|national_?id"
        r"|citizen_?id|passport|ssn|dni|cpf|curp|aadhaar)(?:_|$)",
        re.IGNORECASE,
    ),
    "a telephone number": re.compile(
        r"手机|电话|联系方式|(?:^|_)(?:tele)?(?:phone|mobile|cellphone|tel)(?:_|$)", re.IGNORECASE
    ),
    "a bank account": re.compile(
        r"银行卡|银行账|银行帐|开户|卡号|一卡通|账号|帐号|(?:^|_)(?:bank_?(?:account|card|no|number)|iban"
        r"|account_?(?:no|number)|card_?(?:no|number))(?:_|$)",
        re.IGNORECASE,
    ),
}
_PROTECTED = re.compile(
    r"性别|民族|宗教|信仰|姓氏|普通话"
    r"|(?:^|_)(?:sex|gender|fe?male|ethnic\w*|race|religion\w*|language|surname|marital)(?:_|$)",
    re.IGNORECASE,
)

_WEIGHTS = "[7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]"

# SQL conditions over a text `{x}`. An 18-digit household id is legitimate as long as it is no identity
# number: birth date and check digit decide.
LOOKS_LIKE = {
    "identity numbers": f"""
        (regexp_full_match({{x}}, '[1-9][0-9]{{{{16}}}}[0-9Xx]')
         AND try_cast(
             substr({{x}}, 7, 4) || '-' || substr({{x}}, 11, 2) || '-' || substr({{x}}, 13, 2) AS DATE)
             BETWEEN DATE '1890-01-01' AND current_date
         AND substr('10X98765432', (list_sum([try_cast(substr({{x}}, i, 1) AS INTEGER) * {_WEIGHTS}[i]
             FOR i IN range(1, 18)]) % 11 + 1)::INTEGER, 1) = upper(substr({{x}}, 18, 1)))""",
    "mobile telephone numbers": "regexp_full_match({x}, '(?:[+]?86)?1[3-9][0-9]{{9}}')",
}


def blocked_by_name(column: str) -> str | None:
    """What a raw column holds, judged by its name, if that must not enter a register.

    >>> blocked_by_name("户主身份证号")
    'an identity number'
    >>> blocked_by_name("cope_borrowed_bank") is None
    True
    """
    return next((what for what, pattern in _BY_NAME.items() if pattern.search(column.strip())), None)


def protected_by_name(column: str) -> bool:
    """Whether a column is a protected attribute by its name: an audit column, and nothing else.

    >>> protected_by_name("head_sex"), protected_by_name("n_female"), protected_by_name("sussex")
    (True, True, False)
    """
    return _PROTECTED.search(column.strip()) is not None
