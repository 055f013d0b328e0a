#include "transport/blob/az_errors.h"

#include <fmt/format.h>

#include <cstdlib>
#include <string_view>

namespace penstock::origin {
namespace {

constexpr std::int64_t kClockSkewNs = 300 * kNsPerSecond;

struct DenialMeaning {
  std::string_view error_code;
  std::string_view sentence;
};

// What a service's refusal means, and what to do.
constexpr DenialMeaning kDenials[] = {
    {"AuthenticationFailed",
     "the signature or token was not accepted: the account key, SAS or token is wrong, expired, or "
     "for another account"},
    {"InvalidAuthenticationInfo",
     "the credentials are malformed or expired, or the token is of another tenant than the "
     "account"},
    {"NoAuthenticationInformation",
     "the container is not public and no credentials were given: set AZURE_STORAGE_KEY or "
     "AZURE_STORAGE_SAS_TOKEN, or give this machine an identity (mount.auth.mode)"},
    {"PublicAccessNotPermitted",
     "the account allows no anonymous access and no credentials were given: set AZURE_STORAGE_KEY "
     "or AZURE_STORAGE_SAS_TOKEN, or give this machine an identity (mount.auth.mode)"},
    {"AuthorizationFailure",
     "the account's firewall does not let this machine in, or the credentials lack the right"},
    {"AuthorizationPermissionMismatch",
     "the credentials lack the right: a SAS needs r and l, an identity the role Storage Blob Data "
     "Reader"},
    {"AuthorizationResourceTypeMismatch", "the SAS does not cover this type of resource (srt)"},
    {"AuthorizationServiceMismatch", "the SAS does not cover the Blob service (ss)"},
    {"AuthorizationProtocolMismatch", "the SAS allows https only"},
    {"AuthorizationSourceIPMismatch", "the SAS does not allow this machine's address"},
    {"AccountIsDisabled", "the account is disabled"},
    {"KeyBasedAuthenticationNotPermitted",
     "the account does not allow access by key: use a SAS or an identity"},
    {"InsufficientAccountPermissions", "the account's permissions do not cover this"},
};

std::string_view MeaningOfDenial(std::string_view error_code) {
  for (const DenialMeaning& denial : kDenials) {
    if (denial.error_code == error_code) return denial.sentence;
  }
  return "access was refused";
}

Error ErrorOfFault(Fault fault) {
  switch (fault) {
    case Fault::kCancelled:
      return {Code::kCancelled, false, 0, "asking the Blob service"};
    case Fault::kDeadline:
      return {Code::kDeadline, true, 0, "asking the Blob service"};
    case Fault::kTruncated:
      return {Code::kTruncated, true, 0, "receiving from the Blob service"};
    case Fault::kRejected:
      return {Code::kTruncated, true, 0, "checking the Blob service's answer"};
    case Fault::kTls:
      return {Code::kUnavailable, false, 0, "verifying the Blob service by TLS"};
    case Fault::kResolve:
      return {Code::kUnavailable, true, 0, "resolving the Blob service's name"};
    case Fault::kConnect:
      return {Code::kUnavailable, true, 0, "connecting to the Blob service"};
    case Fault::kTimeout:
      return {Code::kUnavailable, true, 0, "waiting for the Blob service"};
    case Fault::kReset:
      return {Code::kUnavailable, true, 0, "talking to the Blob service"};
    case Fault::kNone:
    case Fault::kOther:
      break;
  }
  return {Code::kInternal, false, 0, "asking the Blob service"};
}

Error ErrorOfStatus(int status, std::string_view error_code) {
  switch (status) {
    case 401:
    case 403:
      return {Code::kPermission, false, 0, "the Blob service refused access"};
    case 404:
      if (error_code == "ContainerNotFound") {
        return {Code::kNotFound, false, 0, "the container does not exist"};
      }
      return {Code::kNotFound, false, 0, "looking for a blob"};
    case 409:
      if (error_code == "PublicAccessNotPermitted") {
        return {Code::kPermission, false, 0, "the Blob service refused access"};
      }
      return {Code::kUnavailable, true, 0, "the Blob service reported a conflict"};
    case 412:
      return {Code::kVersionChanged, false, 0, "the blob was replaced"};
    case 416:
      return {Code::kTruncated, false, 0, "reading past the end of a blob"};
    case 429:
    case 503:
      return {Code::kThrottled, true, 0, "the Blob service is busy"};
    case 408:
    case 500:
    case 502:
    case 504:
      return {Code::kUnavailable, true, 0, "the Blob service failed"};
    case 400:
      return {Code::kInvalid, false, 0, "the Blob service rejected a request"};
    default:
      break;
  }
  if (status >= 300 && status < 400) {
    return {Code::kInvalid, false, 0, "the Blob service redirected, which is not followed"};
  }
  return {Code::kCorrupt, false, 0, "the Blob service answered with an unexpected status"};
}

std::string WithOtherReading(std::string sentence, const AzService& service,
                             std::string_view usual_account) {
  const std::string other = OtherReading(service.location(), usual_account);
  if (!other.empty()) sentence += ". " + other;
  return sentence;
}

std::string ClockNote(const HttpExchange& exchange, std::int64_t wall_ns) {
  if (exchange.response.date_ns == 0) return "";
  const std::int64_t skew_ns = wall_ns - exchange.response.date_ns;
  if (std::llabs(skew_ns) < kClockSkewNs) return "";
  return fmt::format(
      ". This machine's clock is {} s {} the server's: signatures are refused beyond "
      "15 minutes",
      std::llabs(skew_ns) / kNsPerSecond, skew_ns > 0 ? "ahead of" : "behind");
}

std::string ExplainDenial(const HttpExchange& exchange, const AzService& service,
                          std::int64_t wall_ns) {
  const std::string_view code = exchange.response.error_code;
  return fmt::format("{}: HTTP {} {}: {} (credentials: {}){}", service.location().Describe(),
                     exchange.status, code.empty() ? "without an error code" : code,
                     MeaningOfDenial(code),
                     service.credentials().Describe(),
                     ClockNote(exchange, wall_ns));
}

}  // namespace

Error ErrorOfAnswer(const HttpExchange& exchange) {
  const bool decided_by_us =
      exchange.fault == Fault::kCancelled || exchange.fault == Fault::kDeadline;
  // An error's status counts even if its body broke off.
  if (exchange.status >= 300 && !decided_by_us) {
    return ErrorOfStatus(exchange.status, exchange.response.error_code);
  }
  if (exchange.fault != Fault::kNone) return ErrorOfFault(exchange.fault);
  return ErrorOfStatus(exchange.status, exchange.response.error_code);
}

std::string ExplainAnswer(const HttpExchange& exchange, const AzService& service,
                          std::string_view usual_account, std::int64_t wall_ns) {
  const AzLocation& location = service.location();
  const Error error = ErrorOfAnswer(exchange);
  if (error.code == Code::kPermission) return ExplainDenial(exchange, service, wall_ns);
  if (error.code == Code::kNotFound) {
    return WithOtherReading(
        fmt::format("the container '{}' does not exist in the account '{}' at {}",
                    location.container, location.account, location.origin),
        service, usual_account);
  }
  if (exchange.fault == Fault::kResolve) {
    return WithOtherReading(
        fmt::format("{} cannot be reached: {}. Is there a storage account '{}'?", location.origin,
                    exchange.fault_sentence, location.account),
        service, usual_account);
  }
  if (exchange.status == 0 || exchange.fault != Fault::kNone) {
    return fmt::format("{} cannot be reached: {}", location.origin, exchange.fault_sentence);
  }
  return fmt::format("{}: {} (HTTP {} {})", location.Describe(), error.context, exchange.status,
                     exchange.response.error_code);
}

}  // namespace penstock::origin
