# Purpose:  holds the strings of the contract (contract.toml) once in the image.
# Exports:  contract_boot_prefix, contract_ready_prefix, contract_panic_prefix, contract_fault_begin,
#           contract_fault_end, contract_fw_cfg_cmdline, contract_fault_keys
.intel_syntax noprefix
.include "contract_strings.inc"
