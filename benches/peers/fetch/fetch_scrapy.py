"""A spider that asks for each URL of a list and yields an item for it, with the limits that Scrapy has by default lifted."""
import sys

import scrapy
from scrapy.crawler import CrawlerProcess


class Urls(scrapy.Spider):
    name = "urls"

    async def start(self):
        with open(sys.argv[1]) as file:
            for line in file:
                yield scrapy.Request(line.strip(), callback=self.parse, errback=self.failed)

    def parse(self, response):
        yield {"url": response.url, "outcome": "ok", "status": response.status, "bytes": len(response.body)}

    def failed(self, failure):
        yield {"url": failure.request.url, "outcome": failure.type.__name__}


process = CrawlerProcess(
    settings={
        "CONCURRENT_REQUESTS": int(sys.argv[2]),
        "CONCURRENT_REQUESTS_PER_DOMAIN": int(sys.argv[2]),
        "DOWNLOAD_DELAY": 0,
        "ROBOTSTXT_OBEY": False,
        "LOG_LEVEL": "ERROR",
        "TELNETCONSOLE_ENABLED": False,
        "FEEDS": {"stdout:": {"format": "jsonlines"}},
        "TWISTED_REACTOR": "twisted.internet.asyncioreactor.AsyncioSelectorReactor",
        "ASYNCIO_EVENT_LOOP": "uvloop.Loop",
    }
)
process.crawl(Urls)
process.start()
