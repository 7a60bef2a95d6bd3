# A guest of one sector: it boots by the firmware and writes to its disk until the place that sector 1 names, one
# sector in each cluster of 2 MiB, its number in its first bytes. A write that fails is counted in sector 2.
.code16
.intel_syntax noprefix
.globl _start
_start:
  cli
  xor ax, ax
  mov ds, ax
  mov es, ax
  mov ss, ax
  mov sp, 0x7c00
  sti
  mov [drive], dl
again:
  mov ah, 0x42
  mov ecx, 1
  call transfer
  mov eax, [current]
  cmp eax, [0x8000]
  jb more
  hlt
  jmp again
more:
  mov [0x8000], eax
  mov ecx, eax
  mov ah, 0x43
  call transfer
  jc failed
  add dword ptr [current], 4096
  jmp again
failed:
  inc dword ptr [errors]
  mov eax, [errors]
  mov [0x8000], eax
  mov ah, 0x43
  mov ecx, 2
  call transfer
  jmp again
transfer:
  mov [lba], ecx
  mov al, 0
  mov dl, [drive]
  mov si, offset packet
  int 0x13
  ret
.align 4
packet: .byte 16, 0
sectors: .word 1
where: .word 0x8000, 0
lba: .long 0, 0
current: .long 4096
errors: .long 0
drive: .byte 0
.org 510
.byte 0x55, 0xaa
