{"number": "{order_no}", "amount": {amount}, "note": "{note}"}
