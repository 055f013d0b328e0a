#include "transport/http/http_transfer.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "transport/base/limits.h"

namespace penstock::origin {
namespace {

struct CodeMeaning {
  CURLcode code;
  Fault fault;
  const char* sentence;
};

// What libcurl's codes mean to a reader. Those that are not here are bugs or a lack of memory.
constexpr CodeMeaning kMeanings[] = {
    {CURLE_COULDNT_RESOLVE_HOST, Fault::kResolve, "the host's name cannot be resolved"},
    {CURLE_COULDNT_RESOLVE_PROXY, Fault::kResolve, "the proxy's name cannot be resolved"},
    {CURLE_COULDNT_CONNECT, Fault::kConnect, "the connection was refused or found no way"},
    {CURLE_PEER_FAILED_VERIFICATION, Fault::kTls, "the server's certificate is not trusted"},
    {CURLE_SSL_CACERT_BADFILE, Fault::kTls, "the file of trusted certificates cannot be read"},
    // A connection that breaks within the handshake says the same as one that cannot be agreed on.
    {CURLE_SSL_CONNECT_ERROR, Fault::kReset, "the TLS handshake failed"},
    {CURLE_SSL_CIPHER, Fault::kTls, "no common TLS cipher"},
    {CURLE_OPERATION_TIMEDOUT, Fault::kTimeout, "no answer in time"},
    {CURLE_SEND_ERROR, Fault::kReset, "the connection broke while sending"},
    {CURLE_RECV_ERROR, Fault::kReset, "the connection broke while receiving"},
    {CURLE_SEND_FAIL_REWIND, Fault::kReset, "the connection broke while sending"},
    {CURLE_GOT_NOTHING, Fault::kReset, "the server closed the connection without an answer"},
    {CURLE_HTTP2, Fault::kReset, "the HTTP/2 connection broke"},
    {CURLE_HTTP2_STREAM, Fault::kReset, "the HTTP/2 stream broke"},
    {CURLE_PARTIAL_FILE, Fault::kTruncated, "the body ended early"},
    {CURLE_BAD_CONTENT_ENCODING, Fault::kTruncated, "the body's encoding made no sense"},
    {CURLE_WEIRD_SERVER_REPLY, Fault::kReset, "the answer was not HTTP"},
    {CURLE_UNSUPPORTED_PROTOCOL, Fault::kReset, "the answer was not HTTP/1"},
    {CURLE_ABORTED_BY_CALLBACK, Fault::kCancelled, "cancelled"},
};

CodeMeaning MeaningOf(CURLcode code) {
  for (const CodeMeaning& meaning : kMeanings) {
    if (meaning.code == code) return meaning;
  }
  return {code, Fault::kOther, curl_easy_strerror(code)};
}

constexpr long kLowSpeedBytesPerSecond = 1;
// libcurl's timers count whole milliseconds, and so does the timeout that it is given.
constexpr std::int64_t kTimerRoundingNs = 3 * kNsPerMs;

}  // namespace

std::unique_ptr<HttpTransfer> HttpTransfer::Make(const HttpLimits& limits, CURLSH* share) {
  CURL* handle = curl_easy_init();
  if (handle == nullptr) return nullptr;
  std::unique_ptr<HttpTransfer> transfer(new HttpTransfer(handle));
  if (!transfer->SetUpOnce(limits, share)) return nullptr;
  return transfer;
}

HttpTransfer::~HttpTransfer() { curl_easy_cleanup(handle_); }

bool HttpTransfer::SetUpOnce(const HttpLimits& limits, CURLSH* share) {
  bool ok = true;
  const auto set = [&](CURLoption option, auto value) {
    ok = ok && curl_easy_setopt(handle_, option, value) == CURLE_OK;
  };
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_HTTP_VERSION, static_cast<long>(limits.http2 ? CURL_HTTP_VERSION_2TLS
                                                           : CURL_HTTP_VERSION_1_1));
  if (limits.http2) set(CURLOPT_PIPEWAIT, 1L);  // rather a stream more than a connection more
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_PATH_AS_IS, 1L);
  set(CURLOPT_HTTP09_ALLOWED, 0L);
  set(CURLOPT_USERAGENT, "penstock/0.1");
  set(CURLOPT_BUFFERSIZE, static_cast<long>(limits::kReceiveBufferBytes));
  set(CURLOPT_TCP_KEEPALIVE, 1L);
  set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);  // a proxy's are not the server's
  set(CURLOPT_SSL_VERIFYPEER, 1L);
  set(CURLOPT_SSL_VERIFYHOST, 2L);
  set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  set(CURLOPT_SHARE, share);
  set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(limits.connect_timeout_ms));
  set(CURLOPT_LOW_SPEED_LIMIT, kLowSpeedBytesPerSecond);
  set(CURLOPT_LOW_SPEED_TIME,
      static_cast<long>(std::max<std::int64_t>(1, limits.stall_timeout_ms / 1'000)));
  if (!limits.ca_file.empty()) set(CURLOPT_CAINFO, limits.ca_file.c_str());
  if (!limits.use_proxy) set(CURLOPT_NOPROXY, "*");
  set(CURLOPT_HEADERFUNCTION, &HttpTransfer::HeaderCallback);
  set(CURLOPT_HEADERDATA, this);
  set(CURLOPT_WRITEFUNCTION, &HttpTransfer::BodyCallback);
  set(CURLOPT_WRITEDATA, this);
  set(CURLOPT_READFUNCTION, &HttpTransfer::SendCallback);
  set(CURLOPT_READDATA, this);
  return ok;
}

bool HttpTransfer::Begin(HttpExchange* exchange, const HttpLimits& limits, std::int64_t now_ns) {
  exchange_ = exchange;
  exchange->status = 0;
  exchange->response.Clear();
  exchange->received_bytes = 0;
  exchange->fault = Fault::kNone;
  exchange->fault_sentence = "";
  headers_noted_ = false;
  sent_bytes_ = 0;
  began_ns_ = now_ns;
  alarm_ns_ = exchange->alarm_after_ns > 0 ? now_ns + exchange->alarm_after_ns : 0;
  connects_ = 0;
  given_up_ = Fault::kNone;
  if (exchange->url.size() > limits::kMaxRequestBytes) return false;
  const std::int64_t left_ms =
      std::max<std::int64_t>(1, (exchange->deadline_ns - now_ns) / kNsPerMs);
  const long timeout_ms = static_cast<long>(std::min(left_ms, limits.request_timeout_ms));
  return curl_easy_setopt(handle_, CURLOPT_URL, exchange->url.c_str()) == CURLE_OK &&
         curl_easy_setopt(handle_, CURLOPT_TIMEOUT_MS, timeout_ms) == CURLE_OK && SetMethod() &&
         SetHeaders();
}

bool HttpTransfer::SetMethod() {
  const bool deletes = exchange_->method == HttpMethod::kDelete;
  bool ok =
      curl_easy_setopt(handle_, CURLOPT_CUSTOMREQUEST, deletes ? "DELETE" : nullptr) == CURLE_OK;
  switch (exchange_->method) {
    case HttpMethod::kGet:
    case HttpMethod::kDelete:
      return ok && curl_easy_setopt(handle_, CURLOPT_HTTPGET, 1L) == CURLE_OK;
    case HttpMethod::kHead:
      return ok && curl_easy_setopt(handle_, CURLOPT_NOBODY, 1L) == CURLE_OK;
    case HttpMethod::kPut:
      return ok && curl_easy_setopt(handle_, CURLOPT_UPLOAD, 1L) == CURLE_OK &&
             curl_easy_setopt(handle_, CURLOPT_INFILESIZE_LARGE,
                              static_cast<curl_off_t>(exchange_->send_body.size())) == CURLE_OK;
    case HttpMethod::kPost:  // libcurl reads the body in place: it can send it again by itself
      return ok && curl_easy_setopt(handle_, CURLOPT_POST, 1L) == CURLE_OK &&
             curl_easy_setopt(handle_, CURLOPT_POSTFIELDSIZE_LARGE,
                              static_cast<curl_off_t>(exchange_->send_body.size())) == CURLE_OK &&
             curl_easy_setopt(handle_, CURLOPT_POSTFIELDS, exchange_->send_body.data()) == CURLE_OK;
  }
  return false;
}

bool HttpTransfer::SetHeaders() {
  header_list_.clear();
  header_list_.reserve(exchange_->headers.size() + 2);
  const auto add = [this](const char* line) {
    header_list_.push_back({const_cast<char*>(line), nullptr});  // libcurl only reads it
  };
  add("Accept:");  // libcurl's own are of no use here
  add("Expect:");
  for (const std::string& line : exchange_->headers) add(line.c_str());
  for (std::size_t i = 0; i + 1 < header_list_.size(); ++i) {
    header_list_[i].next = &header_list_[i + 1];
  }
  return curl_easy_setopt(handle_, CURLOPT_HTTPHEADER, header_list_.data()) == CURLE_OK;
}

HttpExchange* HttpTransfer::End(CURLcode result, std::int64_t now_ns) {
  long value = 0;
  if (curl_easy_getinfo(handle_, CURLINFO_RESPONSE_CODE, &value) == CURLE_OK) {
    exchange_->status = static_cast<int>(value);
  }
  if (curl_easy_getinfo(handle_, CURLINFO_NUM_CONNECTS, &value) == CURLE_OK && value > 0) {
    connects_ = static_cast<std::uint64_t>(value);
  }
  if (given_up_ != Fault::kNone) {
    exchange_->fault = given_up_;
    exchange_->fault_sentence = given_up_sentence_;
  } else if (result == CURLE_ABORTED_BY_CALLBACK && !exchange_->cancelled.load()) {
    // libcurl gives up all transfers when one socket cannot be waited for.
    exchange_->fault = Fault::kReset;
    exchange_->fault_sentence = "the connection could not be waited for (out of memory?)";
  } else if (result != CURLE_OK) {
    const CodeMeaning meaning = MeaningOf(result);
    const bool late =
        meaning.fault == Fault::kTimeout && now_ns >= exchange_->deadline_ns - kTimerRoundingNs;
    exchange_->fault = late ? Fault::kDeadline : meaning.fault;
    exchange_->fault_sentence = meaning.sentence;
    const bool by_proxy =
        curl_easy_getinfo(handle_, CURLINFO_HTTP_CONNECTCODE, &value) == CURLE_OK && value >= 400;
    if (by_proxy) exchange_->fault_sentence = "the proxy refused to connect (its credentials?)";
  }
  exchange_->wire_ns = now_ns - began_ns_;
  HttpExchange* exchange = exchange_;
  exchange_ = nullptr;
  return exchange;
}

std::size_t HttpTransfer::HeaderCallback(char* data, std::size_t size, std::size_t count,
                                         void* self) {
  auto* transfer = static_cast<HttpTransfer*>(self);
  const std::size_t bytes = size * count;
  if (transfer->headers_noted_) return bytes;  // a trailer, after the body
  ResponseHeaders& headers = transfer->exchange_->response;
  if (bytes > limits::kMaxHeaderLineBytes ||
      headers.total_bytes + bytes > limits::kMaxHeaderBytes) {
    transfer->given_up_ = Fault::kReset;
    transfer->given_up_sentence_ = "the answer's headers were too large";
    return CURL_WRITEFUNC_ERROR;
  }
  ParseHeaderLine(std::string_view(data, bytes), &headers);
  return bytes;
}

bool HttpTransfer::NoteHeadersOnce() {
  if (headers_noted_) return true;
  headers_noted_ = true;
  long status = 0;
  curl_easy_getinfo(handle_, CURLINFO_RESPONSE_CODE, &status);
  exchange_->status = static_cast<int>(status);
  if (exchange_->OnHeaders()) return true;
  given_up_ = Fault::kRejected;
  given_up_sentence_ = "the answer was not what was asked for";
  return false;
}

std::size_t HttpTransfer::BodyCallback(char* data, std::size_t size, std::size_t count,
                                       void* self) {
  auto* transfer = static_cast<HttpTransfer*>(self);
  const std::size_t bytes = size * count;
  if (!transfer->NoteHeadersOnce()) return CURL_WRITEFUNC_ERROR;
  if (!transfer->exchange_->OnBody({data, bytes})) {
    transfer->given_up_ = Fault::kTruncated;
    transfer->given_up_sentence_ = "the body was longer than promised";
    return CURL_WRITEFUNC_ERROR;
  }
  transfer->exchange_->received_bytes += bytes;
  return bytes;
}

std::size_t HttpTransfer::SendCallback(char* data, std::size_t size, std::size_t count,
                                       void* self) {
  auto* transfer = static_cast<HttpTransfer*>(self);
  const auto rest = transfer->exchange_->send_body.subspan(transfer->sent_bytes_);
  const std::size_t bytes = std::min(size * count, rest.size());
  if (bytes > 0) std::memcpy(data, rest.data(), bytes);
  transfer->sent_bytes_ += bytes;
  return bytes;
}

}  // namespace penstock::origin
