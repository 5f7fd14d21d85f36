// A service of known lengths with nothing but the OpenTelemetry SDK for Node.js in it.
//
//     node server.js OTLP_URL
//
// GET /stopwatch hands out what the service itself timed: per trace, the seconds of each part.
"use strict";

const { trace } = require("@opentelemetry/api");
const { OTLPTraceExporter } = require("@opentelemetry/exporter-trace-otlp-http");
const { registerInstrumentations } = require("@opentelemetry/instrumentation");
const { HttpInstrumentation } = require("@opentelemetry/instrumentation-http");
const { resourceFromAttributes } = require("@opentelemetry/resources");
const { BatchSpanProcessor, NodeTracerProvider } = require("@opentelemetry/sdk-trace-node");

const exporter = new OTLPTraceExporter({ url: `${process.argv[2]}/v1/traces` });
const provider = new NodeTracerProvider({
  resource: resourceFromAttributes({ "service.name": "plain-node" }),
  spanProcessors: [new BatchSpanProcessor(exporter, { scheduledDelayMillis: 200, maxQueueSize: 20000 })],
});
provider.register();
registerInstrumentations({ tracerProvider: provider, instrumentations: [new HttpInstrumentation()] });

const http = require("http"); // after the instrumentation, which patches it

const tracer = trace.getTracer("plain-node");
const timed = {};

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function part(name, ms) {
  await tracer.startActiveSpan(name, async (span) => {
    const began = process.hrtime.bigint();
    await sleep(ms);
    const ofTrace = (timed[span.spanContext().traceId] ??= {});
    ofTrace[name] = (ofTrace[name] ?? 0) + Number(process.hrtime.bigint() - began) / 1e9;
    span.end();
  });
}

async function detect(response) {
  await part("decode", 9);
  await part("infer", 25);
  await part("nms", 5);
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({ boxes: 3 }));
}

const server = http.createServer((request, response) => {
  if (request.url === "/stopwatch") {
    response.end(JSON.stringify(timed));
  } else {
    detect(response).catch((error) => {
      response.statusCode = 500;
      response.end(String(error));
    });
  }
});

server.listen(0, "127.0.0.1", () => console.log(`ready on http://127.0.0.1:${server.address().port}`));
process.on("SIGTERM", () => process.exit(0));
