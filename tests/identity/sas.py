"""An account SAS, signed as the REST reference says (version 2020-12-06 and later)."""

import base64
import hashlib
import hmac
import time
import urllib.parse


def account_sas(account, key, permissions="rl", seconds=3600):
    expiry = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))
    fields = {"sp": permissions, "ss": "b", "srt": "sco", "st": "", "se": expiry, "sip": "",
              "spr": "https,http", "sv": "2021-12-02", "ses": ""}
    text = "\n".join([account, *fields.values(), ""])
    digest = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
    query = {name: value for name, value in fields.items() if value}
    return urllib.parse.urlencode(dict(query, sig=base64.b64encode(digest).decode()))
