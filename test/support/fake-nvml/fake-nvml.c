/* A stand-in for libnvidia-ml.so.1, driven by the file "state" beside the library, which may change while it is loaded.
 * Structures are declared as in nvml.h, so that the layouts of the real reader are checked by a compiler.
 * With -DOLD_DRIVER the newer symbols are missing, as in drivers of the 390 branch. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned int u32;
typedef unsigned long long u64;

typedef struct { u64 total, free, used; } Memory;
typedef struct { u32 version; u64 total, reserved, free, used; } MemoryV2;
typedef struct { u32 gpu, memory; } Utilization;
typedef struct { char busIdLegacy[16]; u32 domain, bus, device, pciDeviceId, pciSubSystemId; char busId[32]; } PciInfo;
typedef struct { u32 pid; u64 usedGpuMemory; } ProcessV1;
typedef struct { u32 pid; u64 usedGpuMemory; u32 gpuInstanceId, computeInstanceId; } Process;
typedef struct { u32 pid; u64 usedGpuMemory; u32 gpuInstanceId, computeInstanceId; u64 usedGpuCcProtectedMemory; } ProcessWide;
typedef struct { void *device; u64 eventType, eventData; u32 gpuInstanceId, computeInstanceId; } EventData;

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7, TIMEOUT = 10, LOST = 15 };
enum { MAX_GPUS = 16, MAX_PROCESSES = 256, MAX_LINKS = 64 };

typedef struct {
  char uuid[96], name[96], bus[32];
  int minor, mig, sm, memoryUtil, events, status, hang;
  long long totalMiB, usedMiB, corrected, uncorrected;
} Gpu;

typedef struct {
  char driver[80];
  int count, init, wide, processCount, linkCount, wait;
  Gpu gpus[MAX_GPUS];
  struct { int gpu; u32 pid; long long usedMiB; int mps; } processes[MAX_PROCESSES];
  struct { int gpu, link, isSwitch; char bus[32]; } links[MAX_LINKS];
  int ancestors[MAX_GPUS][MAX_GPUS];
  int eventSequence, eventGpu, eventType; u64 eventData;
} State;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int sessions, lastEvent, sets;
static int lost[MAX_GPUS], hanging;
static u64 registered[MAX_GPUS];
static char handles[MAX_GPUS];

static void readState(State *state) {
  char path[4096], line[1024], *slash;
  Dl_info info;
  memset(state, 0, sizeof *state);
  strcpy(state->driver, "550.54.15");
  dladdr((void *)readState, &info);
  snprintf(path, sizeof path - 8, "%s", info.dli_fname);
  slash = strrchr(path, '/');
  strcpy(slash == NULL ? path : slash + 1, "state");
  FILE *file = fopen(path, "r");
  if (file == NULL) return;
  while (fgets(line, sizeof line, file) != NULL) {
    int a, b, c; u32 pid; long long mib; char text[96]; u64 data;
    Gpu gpu = { .uuid = "" };
    if (sscanf(line, "driver %79s", state->driver) == 1) continue;
    if (sscanf(line, "init %d", &state->init) == 1 || sscanf(line, "wide %d", &state->wide) == 1) continue;
    if (sscanf(line, "wait %d", &state->wait) == 1) continue;
    if (sscanf(line, "gpu %95s %95s %31s %d %lld %lld %d %d %d %lld %lld %d %d %d", gpu.uuid, gpu.name, gpu.bus, &gpu.minor,
               &gpu.totalMiB, &gpu.usedMiB, &gpu.mig, &gpu.sm, &gpu.memoryUtil, &gpu.corrected, &gpu.uncorrected,
               &gpu.events, &gpu.status, &gpu.hang) == 14) {
      for (char *at = gpu.name; *at != 0; at++) if (*at == '_') *at = ' ';
      if (state->count < MAX_GPUS) state->gpus[state->count++] = gpu;
    } else if (sscanf(line, "process %d %u %lld %d", &a, &pid, &mib, &b) == 4 && state->processCount < MAX_PROCESSES) {
      state->processes[state->processCount].gpu = a;
      state->processes[state->processCount].pid = pid;
      state->processes[state->processCount].mps = b;
      state->processes[state->processCount++].usedMiB = mib;
    } else if (sscanf(line, "nvlink %d %d %95s", &a, &b, text) == 3 && state->linkCount < MAX_LINKS) {
      state->links[state->linkCount].gpu = a;
      state->links[state->linkCount].link = b;
      state->links[state->linkCount].isSwitch = strcmp(text, "switch") == 0;
      snprintf(state->links[state->linkCount++].bus, 32, "%.31s", text);
    } else if (sscanf(line, "ancestor %d %d %d", &a, &b, &c) == 3 && a < MAX_GPUS && b < MAX_GPUS) {
      state->ancestors[a][b] = state->ancestors[b][a] = c;
    } else if (sscanf(line, "event %d %d %d %llu", &a, &b, &c, &data) == 4) {
      state->eventSequence = a; state->eventGpu = b; state->eventType = c; state->eventData = data;
    }
  }
  fclose(file);
}

static State current(void) {
  State state;
  readState(&state);
  return state;
}

/* A lost GPU stays lost until the next session, and a hanging one answers only once the state says so. */
static int gpuOf(void *device, State *state, Gpu **gpu) {
  int at = (int)((char *)device - handles);
  *state = current();
  if (sessions == 0) return UNINITIALIZED;
  if (at < 0 || at >= state->count) return INVALID_ARGUMENT;
  if (state->gpus[at].hang != 0) {
    __sync_fetch_and_add(&hanging, 1);
    while (state->gpus[at].hang != 0) { usleep(2000); *state = current(); }
    __sync_fetch_and_sub(&hanging, 1);
  }
  *gpu = &state->gpus[at];
  if ((*gpu)->status == LOST) lost[at] = 1;
  if (lost[at]) return LOST;
  return (*gpu)->status;
}

#define GPU(device) State state; Gpu *gpu = NULL; int failed = gpuOf(device, &state, &gpu); if (failed != SUCCESS) return failed

int nvmlInit_v2(void) {
  State state = current();
  if (state.init != SUCCESS) return state.init;
  memset(lost, 0, sizeof lost);
  lastEvent = state.eventSequence;
  sessions++;
  return SUCCESS;
}
int nvmlShutdown(void) { if (sessions == 0) return UNINITIALIZED; sessions--; return SUCCESS; }
int nvmlSystemGetDriverVersion(char *out, u32 size) {
  State state = current();
  if (sessions == 0) return UNINITIALIZED;
  snprintf(out, size, "%s", state.driver);
  return SUCCESS;
}
int nvmlDeviceGetCount_v2(u32 *out) { State state = current(); if (sessions == 0) return UNINITIALIZED; *out = (u32)state.count; return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(u32 index, void **out) {
  if (index >= MAX_GPUS) return INVALID_ARGUMENT;
  GPU(&handles[index]);
  *out = &handles[index];
  return SUCCESS;
}
int nvmlDeviceGetUUID(void *device, char *out, u32 size) { GPU(device); snprintf(out, size, "%s", gpu->uuid); return SUCCESS; }
int nvmlDeviceGetName(void *device, char *out, u32 size) { GPU(device); snprintf(out, size, "%s", gpu->name); return SUCCESS; }
int nvmlDeviceGetMinorNumber(void *device, u32 *out) { GPU(device); *out = (u32)gpu->minor; return SUCCESS; }
int nvmlDeviceGetMemoryInfo(void *device, Memory *out) {
  GPU(device);
  out->total = (u64)gpu->totalMiB << 20;
  out->used = (u64)gpu->usedMiB << 20;
  out->free = out->total - out->used;
  return SUCCESS;
}
int nvmlDeviceGetPciInfo_v3(void *device, PciInfo *out) {
  GPU(device);
  memset(out, 0, sizeof *out);
  snprintf(out->busId, sizeof out->busId, "%s", gpu->bus);
  snprintf(out->busIdLegacy, sizeof out->busIdLegacy, "%.15s", gpu->bus + 4);
  return SUCCESS;
}
int nvmlDeviceGetUtilizationRates(void *device, Utilization *out) {
  GPU(device);
  if (gpu->sm < 0) return NOT_SUPPORTED;
  out->gpu = (u32)gpu->sm; out->memory = (u32)gpu->memoryUtil;
  return SUCCESS;
}
int nvmlDeviceGetTotalEccErrors(void *device, int kind, int counter, u64 *out) {
  GPU(device);
  if (counter != 0) return INVALID_ARGUMENT;
  if (gpu->corrected < 0) return NOT_SUPPORTED;
  *out = (u64)(kind == 0 ? gpu->corrected : gpu->uncorrected);
  return SUCCESS;
}

static void fillProcess(void *out, u32 at, int version, u32 pid, u64 used) {
  if (version == 1) ((ProcessV1 *)out)[at] = (ProcessV1){ pid, used };
  else if (version == 2) ((Process *)out)[at] = (Process){ pid, used, 0xffffffffu, 0xffffffffu };
  else ((ProcessWide *)out)[at] = (ProcessWide){ pid, used, 0xffffffffu, 0xffffffffu, 0 };
}
static int listProcesses(void *device, u32 *count, void *out, int version, int mps) {
  GPU(device);
  u32 capacity = *count, found = 0;
  int index = (int)((char *)device - handles);
  for (int at = 0; at < state.processCount; at++) {
    if (state.processes[at].gpu != index || state.processes[at].mps != mps) continue;
    u64 used = state.processes[at].usedMiB < 0 ? ~0ull : (u64)state.processes[at].usedMiB << 20;
    if (found < capacity) fillProcess(out, found, version == 3 && !state.wide ? 2 : version, state.processes[at].pid, used);
    found++;
  }
  *count = found;
  return found > capacity ? INSUFFICIENT_SIZE : SUCCESS;
}
int nvmlDeviceGetComputeRunningProcesses(void *device, u32 *count, void *out) { return listProcesses(device, count, out, 1, 0); }

int nvmlDeviceGetTopologyCommonAncestor(void *left, void *right, int *out) {
  GPU(left);
  *out = state.ancestors[(char *)left - handles][(char *)right - handles];
  return SUCCESS;
}

#ifndef OLD_DRIVER
int nvmlDeviceGetMemoryInfo_v2(void *device, MemoryV2 *out) {
  GPU(device);
  if (out->version != (sizeof *out | 2u << 24)) return 25;
  out->total = (u64)gpu->totalMiB << 20;
  out->used = (u64)gpu->usedMiB << 20;
  out->reserved = 0;
  out->free = out->total - out->used;
  return SUCCESS;
}
int nvmlDeviceGetMigMode(void *device, u32 *mode, u32 *pending) {
  GPU(device);
  if (gpu->mig < 0) return NOT_SUPPORTED;
  *mode = *pending = (u32)gpu->mig;
  return SUCCESS;
}
int nvmlDeviceGetComputeRunningProcesses_v2(void *device, u32 *count, void *out) { return listProcesses(device, count, out, 2, 0); }
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, u32 *count, void *out) { return listProcesses(device, count, out, 3, 0); }
int nvmlDeviceGetMPSComputeRunningProcesses_v3(void *device, u32 *count, void *out) { return listProcesses(device, count, out, 3, 1); }

static int linkOf(void *device, u32 link, State *state, int *found) {
  Gpu *gpu;
  int failed = gpuOf(device, state, &gpu), index = (int)((char *)device - handles);
  if (failed != SUCCESS) return failed;
  for (*found = 0; *found < state->linkCount; (*found)++)
    if (state->links[*found].gpu == index && state->links[*found].link == (int)link) return SUCCESS;
  return INVALID_ARGUMENT;
}
int nvmlDeviceGetNvLinkState(void *device, u32 link, u32 *out) {
  State state; int found, failed = linkOf(device, link, &state, &found);
  if (failed == SUCCESS) *out = strcmp(state.links[found].bus, "down") == 0 ? 0 : 1;
  return failed;
}
int nvmlDeviceGetNvLinkRemoteDeviceType(void *device, u32 link, u32 *out) {
  State state; int found, failed = linkOf(device, link, &state, &found);
  if (failed == SUCCESS) *out = state.links[found].isSwitch ? 2 : 0;
  return failed;
}
int nvmlDeviceGetNvLinkRemotePciInfo_v2(void *device, u32 link, PciInfo *out) {
  State state; int found, failed = linkOf(device, link, &state, &found);
  if (failed != SUCCESS) return failed;
  memset(out, 0, sizeof *out);
  snprintf(out->busId, sizeof out->busId, "%s", state.links[found].bus);
  return SUCCESS;
}
#endif

int nvmlDeviceGetSupportedEventTypes(void *device, u64 *out) { GPU(device); *out = (u64)gpu->events; return SUCCESS; }
int nvmlDeviceRegisterEvents(void *device, u64 types, void *set) {
  GPU(device);
  (void)set;
  if (types & ~(u64)gpu->events) return NOT_SUPPORTED;
  registered[(char *)device - handles] = types;
  return SUCCESS;
}
int nvmlEventSetCreate(void **out) {
  if (sessions == 0) return UNINITIALIZED;
  sets++;
  memset(registered, 0, sizeof registered);
  *out = &sets;
  return SUCCESS;
}
int nvmlEventSetFree(void *set) { (void)set; sets--; return SUCCESS; }

/* An event of a registered GPU is given out once, when its number in the state is above the last one given out. */
int nvmlEventSetWait_v2(void *set, EventData *out, u32 millis) {
  (void)set;
  for (u32 waited = 0; ; waited += 2) {
    State state = current();
    if (sessions == 0) return UNINITIALIZED;
    if (state.wait != SUCCESS) return state.wait;
    pthread_mutex_lock(&lock);
    int heard = state.eventGpu < 0 || (registered[state.eventGpu] & (u64)state.eventType) != 0;
    int fresh = heard && state.eventSequence > lastEvent;
    if (fresh) lastEvent = state.eventSequence;
    pthread_mutex_unlock(&lock);
    if (fresh) {
      void *device = state.eventGpu < 0 ? (void *)&lock : (void *)&handles[state.eventGpu];
      *out = (EventData){ device, (u64)state.eventType, state.eventData, 0xffffffffu, 0xffffffffu };
      return SUCCESS;
    }
    if (waited >= millis) return TIMEOUT;
    usleep(2000);
  }
}

/* For tests: calls that hang now, sessions and event sets that are open, GPUs registered. */
int fakeHanging(void) { return hanging; }
int fakeSessions(void) { return sessions; }
int fakeSets(void) { return sets; }
int fakeRegistered(void) {
  int count = 0;
  for (int at = 0; at < MAX_GPUS; at++) count += registered[at] != 0;
  return count;
}

/* For the layout test: size and offsets as this compiler lays the structures out. */
const char *fakeLayout(void) {
  static char text[1024];
  snprintf(text, sizeof text,
           "{\"memory\":{\"size\":%zu,\"total\":%zu,\"used\":%zu},"
           "\"memoryV2\":{\"size\":%zu,\"version\":%zu,\"total\":%zu,\"used\":%zu},"
           "\"utilization\":{\"size\":%zu,\"gpu\":%zu,\"memory\":%zu},"
           "\"pciInfo\":{\"size\":%zu,\"busIdLegacy\":%zu,\"busId\":%zu},"
           "\"processInfoV1\":{\"size\":%zu,\"pid\":%zu,\"usedGpuMemory\":%zu},"
           "\"processInfo\":{\"size\":%zu,\"pid\":%zu,\"usedGpuMemory\":%zu},"
           "\"processInfoWide\":{\"size\":%zu,\"pid\":%zu,\"usedGpuMemory\":%zu},"
           "\"eventData\":{\"size\":%zu,\"device\":%zu,\"eventType\":%zu,\"eventData\":%zu}}",
           sizeof(Memory), offsetof(Memory, total), offsetof(Memory, used),
           sizeof(MemoryV2), offsetof(MemoryV2, version), offsetof(MemoryV2, total), offsetof(MemoryV2, used),
           sizeof(Utilization), offsetof(Utilization, gpu), offsetof(Utilization, memory),
           sizeof(PciInfo), offsetof(PciInfo, busIdLegacy), offsetof(PciInfo, busId),
           sizeof(ProcessV1), offsetof(ProcessV1, pid), offsetof(ProcessV1, usedGpuMemory),
           sizeof(Process), offsetof(Process, pid), offsetof(Process, usedGpuMemory),
           sizeof(ProcessWide), offsetof(ProcessWide, pid), offsetof(ProcessWide, usedGpuMemory),
           sizeof(EventData), offsetof(EventData, device), offsetof(EventData, eventType), offsetof(EventData, eventData));
  return text;
}
